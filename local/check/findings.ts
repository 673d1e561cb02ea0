/** What a check found, and the table that tells it. */

export interface Finding {
  /** What was looked at. */
  readonly check: string;
  /** `skipped`: there is nothing to look at yet. */
  readonly state: "ok" | "failed" | "skipped";
  /** What was found. */
  readonly found: string;
  /** What to do about it; for failures. */
  readonly mend?: string;
}

export const ok = (check: string, found: string): Finding => ({ check, state: "ok", found });
export const skipped = (check: string, found: string): Finding => ({ check, state: "skipped", found });
export const failed = (check: string, found: string, mend: string): Finding => ({
  check,
  state: "failed",
  found,
  mend,
});

/** The findings as a table, failures last, so that they are what is on the screen. */
export function table(findings: readonly Finding[]): string {
  const order = ["skipped", "ok", "failed"];
  const sorted = [...findings].sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
  const width = Math.max(...sorted.map(({ check }) => check.length));
  const indent = " ".repeat(width + 11);
  return sorted
    .map(({ check, state, found, mend }) => {
      const line = `${check.padEnd(width)}  ${state.padEnd(9)}${found}\n`;
      return mend === undefined ? line : `${line}${indent}mend: ${mend}\n`;
    })
    .join("");
}

/** Fails with a message of its own when a promise takes longer than it may. */
export function within<T>(seconds: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${what} did not answer within ${seconds} s`));
    }, seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => {
    clearTimeout(timer);
  });
}
