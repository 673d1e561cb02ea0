import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { type ChatHarness, startChat } from "./support/chat.ts";
import { answers, fails } from "./support/provider.ts";

let chat: ChatHarness;
beforeAll(async () => {
  chat = await startChat(inject("postgres"), inject("redis"));
});
afterEach(() => {
  chat.provider.reset();
});
afterAll(() => chat.stop());

const image = Buffer.from("\x89PNG\r\n\x1a\nrest", "latin1").toString("base64");
const reads = (content: unknown) =>
  answers("application/json", JSON.stringify({ choices: [{ message: { content } }] }));
const recognize = (body: object) => chat.service.call("POST", "/api/v2/ocr", { token: chat.token, body });

describe("the text on a picture", () => {
  it("is what the provider reads, which is given the picture and the type that its bytes have", async () => {
    chat.provider.otherwise = reads("請求書 42");
    expect(await recognize({ image })).toMatchObject({
      status: 200,
      body: { text: "請求書 42", degraded: false },
    });
    const content = [
      { type: "text" },
      { type: "image_url", image_url: { url: `data:image/png;base64,${image}` } },
    ];
    expect(chat.provider.requests).toMatchObject([
      { path: "/v1/chat/completions", body: { model: "eyes", messages: [{ role: "user", content }] } },
    ]);
  });

  it("is asked for once more when the provider has failed", async () => {
    chat.provider.next.push(fails(503));
    chat.provider.otherwise = reads("second");
    expect(await recognize({ image })).toMatchObject({ body: { text: "second", degraded: false } });
  });

  it("counts a success as one, so that failures far apart do not open the circuit", async () => {
    const replica = await chat.startReplica();
    const ask = () => replica.call("POST", "/api/v2/ocr", { token: chat.token, body: { image } });
    for (let round = 0; round < 5; round++) {
      chat.provider.next.push(fails(503));
      chat.provider.otherwise = reads("read");
      expect(await ask()).toMatchObject({ body: { text: "read", degraded: false } });
    }
    expect(await ask()).toMatchObject({ body: { text: "read", degraded: false } });
    expect(await replica.metricsText()).toContain('app_ai_requests_total{provider="ocr",outcome="ok"} 6');
    await replica.stop();
  });

  it("is empty and marked when the provider answers rubbish, after another attempt", async () => {
    chat.provider.otherwise = reads(42);
    expect(await recognize({ image })).toMatchObject({ status: 200, body: { text: "", degraded: true } });
    expect(chat.provider.requests.length).toBeGreaterThan(1);
  });

  it.each([
    ["no picture", Buffer.from("GIF89a").toString("base64")],
    ["no base64", "%%%"],
    ["empty", ""],
  ])(
    "is refused by the field's name when what is sent is %s, and the provider is not asked",
    async (_what, sent) => {
      const refused = await recognize({ image: sent });
      expect(refused).toMatchObject({ status: 400, body: { errors: [{ field: "image" }] } });
      expect(chat.provider.requests).toEqual([]);
    },
  );
});
