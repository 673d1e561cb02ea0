import { once } from "node:events";
import { setImmediate as soon } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { together } from "../../local/together.ts";

/** Work that ends some time after it was told to. */
const endsWhenTold = async (ended: () => void, signal: AbortSignal): Promise<never> => {
  await once(signal, "abort");
  await soon();
  ended();
  throw new Error("aborted");
};

test("what runs beside a failure is told to end, and has ended when the first error is thrown", async () => {
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
  const fails = (): Promise<never> => Promise.reject(new Error("no kind"));
  const ended = vi.fn<() => void>();
  const waits = (signal: AbortSignal): Promise<never> => endsWhenTold(ended, signal);
  await expect(together(fails, waits)).rejects.toThrow("no kind");
  expect(ended).toHaveBeenCalledTimes(1);
  await expect(together(waits, fails)).rejects.toThrow("no kind");
  expect(ended).toHaveBeenCalledTimes(2);
  vi.restoreAllMocks();
});

test("both results are given in their order", async () => {
  const late = async () => {
    await soon();
    return "late";
  };
  expect(await together(late, () => Promise.resolve(1))).toEqual(["late", 1]);
});
