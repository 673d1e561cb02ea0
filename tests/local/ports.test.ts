import { createServer, type AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { requireFreePort } from "../../local/node/network.ts";

test("a port that somebody else has is said with who that is; one that nobody has is no matter", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const asked = requireFreePort("the edge", "127.0.0.1", port);
  await expect(asked).rejects.toThrow(
    new RegExp(
      `^the edge needs port ${port} on 127.0.0.1, which (process ${process.pid} \\(.+\\)|another process) has`,
    ),
  );
  await new Promise((resolve) => server.close(resolve));
  await requireFreePort("the edge", "127.0.0.1", port);
});
