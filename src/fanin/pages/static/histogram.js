// Histograms, drawn by uPlot.

function barsOf(histogram) {
  const total = histogram.counts.reduce((sum, count) => sum + count, 0) || 1;
  const width = (histogram.high - histogram.low) / histogram.counts.length;
  return {
    centres: histogram.counts.map((_, place) => histogram.low + (place + 0.5) * width),
    shares: histogram.counts.map((count) => (100 * count) / total),
  };
}

function histogramWords(histogram, what) {
  const { centres, shares } = barsOf(histogram);
  const top = shares.indexOf(Math.max(...shares));
  return `Histogram of ${what}: from ${digits(histogram.low)} to ${digits(histogram.high)}, ${Math.round(shares[top])} % of the values around ${digits(centres[top])}`;
}

function drawHistogram(host, histogram, what) {
  const { centres, shares } = barsOf(histogram);
  host.setAttribute("role", "img");
  host.setAttribute("aria-label", histogramWords(histogram, what));
  const axis = { stroke: colour("quiet"), grid: { show: false }, ticks: { stroke: colour("chart-grid"), size: 4 }, font: "11px system-ui" };
  return new uPlot(
    {
      width: Math.max(120, host.clientWidth),
      height: 130,
      padding: [6, 8, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false }, y: { range: (_, low, high) => [0, high * 1.05 || 1] } },
      axes: [
        { ...axis, size: 24, space: 60, values: (_, ticks) => ticks.map((tick) => digits(tick)) },
        { ...axis, size: 40, values: (_, ticks) => ticks.map((tick) => `${digits(tick)} %`) },
      ],
      series: [
        {},
        { fill: colour("chart-seen"), stroke: colour("chart-seen"), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [1, 100], gap: centres.length < 80 ? 1 : 0 }) },
      ],
    },
    [centres, shares],
    host,
  );
}

// Fills `side` with a heading, numbers and histograms; the plots of the row before are freed.
function showDetail(side, title, blocks) {
  for (const plot of side.plots || []) plot.destroy();
  side.plots = [];
  side.replaceChildren(make("h3", null, title));
  side.classList.add("filled");
  for (const block of blocks) {
    if (block.heading) side.append(make("h4", null, block.heading));
    if (block.histogram) {
      const host = make("div", { class: "plot" });
      side.append(host);
      side.plots.push(drawHistogram(host, block.histogram, block.heading.toLowerCase()));
    }
    if (block.pairs) side.append(listOf(block.pairs));
    if (block.node) side.append(block.node);
  }
}
