import { describe, expect, test } from "vitest";
import { Client, createDocument, documentOf, idsOf, removeDocument, tenants, token } from "./support.ts";

const [ours, theirs] = tenants;

describe("a document", () => {
  test("that an editor wrote is read back, listed, changed and, by an admin, removed", async () => {
    const client = new Client();
    const editor = await token("editor", ours);
    const written = await createDocument(client, ours);
    const path = `/api/v1/documents/${written.id}`;
    expect(documentOf(await client.get(path, { token: editor }))).toEqual(written);
    expect(idsOf(await client.get("/api/v1/documents", { token: editor }))).toContain(written.id);

    const body = { title: "Changed", content: "changed" };
    expect((await client.send("PUT", path, { token: editor, body })).status).toBe(200);
    expect(documentOf(await client.get(path, { token: editor }))).toEqual({ id: written.id, ...body });

    expect((await removeDocument(client, ours, written)).status).toBe(204);
    expect((await client.get(path, { token: editor })).status).toBe(404);
  });

  test("is read but neither written nor removed by a viewer", async () => {
    const client = new Client();
    const viewer = await token("viewer", ours);
    const written = await createDocument(client, ours);
    const path = `/api/v1/documents/${written.id}`;
    const body = { title: "Mine now", content: "" };
    try {
      expect(documentOf(await client.get(path, { token: viewer }))).toEqual(written);
      expect((await client.send("POST", "/api/v1/documents", { token: viewer, body })).status).toBe(403);
      expect((await client.send("PUT", path, { token: viewer, body })).status).toBe(403);
      expect((await client.send("DELETE", path, { token: viewer })).status).toBe(403);
      expect(documentOf(await client.get(path, { token: viewer }))).toEqual(written);
    } finally {
      await removeDocument(client, ours, written);
    }
  });

  test("is out of reach without a token, or with a token that was changed", async () => {
    const client = new Client();
    const good = await token("viewer", ours);
    const [header, payload = "", signature] = good.split(".");
    const claims: unknown = JSON.parse(Buffer.from(payload, "base64url").toString());
    const raised = Buffer.from(JSON.stringify({ ...Object(claims), role: "admin" })).toString("base64url");
    const forged = [header, raised, signature].join(".");
    expect((await client.get("/api/v1/documents", { token: good })).status).toBe(200);
    expect((await client.get("/api/v1/documents")).status).toBe(401);
    expect((await client.get("/api/v1/documents", { token: forged })).status).toBe(401);
  });
});

test("a tenant neither sees nor changes another tenant's documents", async () => {
  const client = new Client();
  const written = await createDocument(client, ours);
  const path = `/api/v1/documents/${written.id}`;
  const stranger = await token("admin", theirs);
  const body = { title: "Mine now", content: "" };
  try {
    // Now it is in the cache, too.
    expect(documentOf(await client.get(path, { token: await token("viewer", ours) }))).toEqual(written);

    expect((await client.get(path, { token: stranger })).status).toBe(404);
    expect((await client.send("PUT", path, { token: stranger, body })).status).toBe(404);
    expect((await client.send("DELETE", path, { token: stranger })).status).toBe(404);
    expect(idsOf(await client.get("/api/v1/documents", { token: stranger }))).not.toContain(written.id);

    const list = await client.get("/api/v1/documents", { token: await token("viewer", ours) });
    expect(idsOf(list)).toContain(written.id);
    expect(documentOf(await client.get(path, { token: await token("viewer", ours) }))).toEqual(written);
  } finally {
    await removeDocument(client, ours, written);
  }
});
