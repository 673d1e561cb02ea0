/** Small plots as SVG: bars for what was compared, a line for what grows. */
import { medianOf, shown } from "./report.ts";

export interface Series {
  readonly label: string;
  readonly values: readonly number[];
}

const [width, left, right, rowHeight] = [720, 260, 90, 34];
const [ink, fill, faint] = ["#24292f", "#5b8def", "#d0d7de"];

/** A bar for the median of each series, and a line over it from minimum to maximum. */
export function bars(title: string, unit: string, series: readonly Series[]): string {
  const most = Math.max(...series.flatMap(({ values }) => [...values]));
  const x = (value: number) => left + (value / most) * (width - left - right);
  const height = 50 + series.length * rowHeight;
  const rows = series.map(({ label, values }, index) => {
    const [y, median] = [46 + index * rowHeight, medianOf(values)];
    const [least, greatest] = [x(Math.min(...values)), x(Math.max(...values))];
    return [
      text(left - 10, y + 15, label, "end"),
      `<rect x="${left}" y="${y}" width="${round(x(median) - left)}" height="22" fill="${fill}"/>`,
      `<path d="M${round(least)} ${y + 11}H${round(greatest)}M${round(least)} ${y + 6}v10M${round(greatest)} ${y + 6}v10" stroke="${ink}" fill="none"/>`,
      text(greatest + 8, y + 15, shown(median), "start"),
    ].join("\n");
  });
  return picture(height, `${title} (${unit}; bar: median, line: minimum to maximum)`, rows);
}

export interface Point {
  readonly x: number;
  readonly values: readonly number[];
}

/** The medians over x as a line from the origin's scale, each with its minimum and maximum. */
export function line(title: string, axes: { x: string; y: string }, points: readonly Point[]): string {
  const [height, top, bottom, start] = [320, 50, 270, 70];
  const [mostX, mostY] = [
    Math.max(...points.map((point) => point.x)),
    Math.max(...points.flatMap(({ values }) => [...values])),
  ];
  const x = (value: number) => round(start + (value / mostX) * (width - start - right));
  const y = (value: number) => round(bottom - (value / mostY) * (bottom - top));
  const marks = points.map(({ x: at, values }) =>
    [
      `<path d="M${x(at)} ${y(Math.min(...values))}V${y(Math.max(...values))}" stroke="${ink}"/>`,
      `<circle cx="${x(at)}" cy="${y(medianOf(values))}" r="4" fill="${fill}"/>`,
      text(x(at), bottom + 18, String(at), "middle"),
      text(x(at) + 8, y(medianOf(values)) - 8, shown(medianOf(values)), "start"),
    ].join("\n"),
  );
  const path = points.map((point) => `${x(point.x)} ${y(medianOf(point.values))}`).join("L");
  return picture(height, title, [
    `<path d="M${start} ${top}V${bottom}H${width - right}" stroke="${faint}" fill="none"/>`,
    `<path d="M${path}" stroke="${fill}" fill="none"/>`,
    ...marks,
    text(width - right, bottom + 38, axes.x, "end"),
    text(start, top - 8, axes.y, "start"),
  ]);
}

/** Several courses over x, each a line in its own colour; x and y begin at 0. */
export function lines(
  title: string,
  axes: { x: string; y: string },
  courses: readonly { readonly label: string; readonly points: readonly (readonly [number, number])[] }[],
): string {
  const [height, top, bottom, start] = [320, 50, 270, 70];
  const all = courses.flatMap(({ points }) => [...points]);
  const [mostX, mostY] = [Math.max(...all.map(([at]) => at)), Math.max(...all.map(([, value]) => value))];
  const x = (value: number) => round(start + (value / mostX) * (width - start - left));
  const y = (value: number) => round(bottom - (value / mostY) * (bottom - top));
  return picture(height, title, [
    `<path d="M${start} ${top}V${bottom}H${width - left}" stroke="${faint}" fill="none"/>`,
    ...courses.flatMap(({ label, points }, index) => {
      const colour = `hsl(${Math.round((360 * index) / courses.length)} 65% 45%)`;
      const [place, path] = [top + 12 + index * 18, points.map(([at, value]) => `${x(at)} ${y(value)}`)];
      return [
        `<path d="M${path.join("L")}" stroke="${colour}" fill="none"/>`,
        `<path d="M${width - left + 14} ${place - 4}h18" stroke="${colour}" stroke-width="3"/>`,
        text(width - left + 40, place, label, "start"),
      ];
    }),
    text(start - 8, top + 5, shown(mostY), "end"),
    text(start - 8, bottom, "0", "end"),
    text(width - left, bottom + 18, shown(mostX), "middle"),
    text(width - left, bottom + 38, axes.x, "end"),
    text(start, top - 8, axes.y, "start"),
  ]);
}

function picture(height: number, title: string, parts: readonly string[]): string {
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="13" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(12, 22, title, "start"),
    ...parts,
    "</svg>",
  ].join("\n")}\n`;
}

const text = (x: number, y: number, content: string, anchor: string): string =>
  `<text x="${round(x)}" y="${round(y)}" fill="${ink}" text-anchor="${anchor}">${escaped(content)}</text>`;

const round = (value: number): number => Math.round(value * 10) / 10;

const escaped = (content: string): string =>
  content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
