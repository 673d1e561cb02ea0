/** The emergency levels where what they ask is what is down, or does not answer. */
import { execFile } from "node:child_process";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { beforeEach, expect, test, vi } from "vitest";
import { confirmHealth, degraded } from "../../local/delivery/emergency.ts";

let said = "";
beforeEach(() => {
  said = "";
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
});

test("goes on to the restart of the app where stores and Prometheus do not answer", async () => {
  const done: string[] = [];
  vi.spyOn(process.stdout, "write").mockReturnValue(true);
  const kubectl = (args: readonly string[]): Promise<string> => {
    const asked = args.join(" ");
    if (asked.includes("get services")) return Promise.resolve('{"items":[]}');
    if (/rollout|exec service\/app-share-50/.test(asked)) {
      done.push(asked.split(" ").slice(2, 5).join(" "));
      return Promise.resolve("200");
    }
    return Promise.reject(new Error("container not found"));
  };
  await degraded({ kubectl });
  expect(done).toEqual([
    "rollout restart deployment/app",
    "rollout status deployment/app",
    "exec service/app-share-50 --pod-running-timeout=5s",
  ]);
});

test.each<[string, string | undefined, RequestListener]>([
  ["200", undefined, (_, response) => response.end()],
  ["503", "The app is not healthy", (_, response) => response.writeHead(503).end()],
  ["no answer after 5 s", "The app is not healthy", () => undefined],
])(
  "health is what a pod that users are on says of itself: %s",
  async (seen, error, answer) => {
    const server = createServer(answer);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const env = { ...process.env, PORT: String((server.address() as AddressInfo).port) };
    const asked: string[] = [];
    const kubectl = async (args: readonly string[]): Promise<string> => {
      const command = args.indexOf("--");
      asked.push(args.slice(0, command).join(" "));
      const inPod = args.slice(command + 2);
      return (await promisify(execFile)(process.execPath, inPod, { env })).stdout;
    };
    const confirmed = confirmHealth({ kubectl });
    await (error === undefined ? confirmed : expect(confirmed).rejects.toThrow(error));
    const times = error === undefined ? 1 : 3;
    expect(said).toBe(`/api/health: ${seen}\n`.repeat(times));
    expect(new Set(asked)).toEqual(
      new Set(["--namespace app exec service/app-share-50 --pod-running-timeout=5s"]),
    );
    server.closeAllConnections();
    server.close();
  },
  30_000,
);
