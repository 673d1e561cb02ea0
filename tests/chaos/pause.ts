/** The longest time between acknowledgements from `from` to `to`, both milliseconds; also up to `to` itself. Seconds. */
export function longestPause(times: readonly number[], from: number, to: number): number {
  const before = times.filter((time) => time < from).at(-1) ?? from;
  const after = [...times.filter((time) => time >= from), to];
  return Math.max(...after.map((time, index) => time - (after[index - 1] ?? before))) / 1000;
}
