/** The first emergency level where what it asks is what is down. */
import { expect, test, vi } from "vitest";
import { degraded } from "../../local/delivery/emergency.ts";

test("goes on to the restart of the app where stores and Prometheus do not answer", async () => {
  const done: string[] = [];
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
  vi.spyOn(process.stdout, "write").mockReturnValue(true);
  const kubectl = (args: readonly string[]): Promise<string> => {
    const asked = args.join(" ");
    if (asked.includes("get services")) return Promise.resolve('{"items":[]}');
    if (/rollout|exec deployment\/app/.test(asked)) {
      done.push(asked.split(" ").slice(2, 5).join(" "));
      return Promise.resolve("200");
    }
    return Promise.reject(new Error("container not found"));
  };
  await degraded({ kubectl });
  expect(done).toEqual([
    "rollout restart deployment/app",
    "rollout status deployment/app",
    "exec deployment/app --",
  ]);
});
