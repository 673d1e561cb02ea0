import { describe, expect, it } from "vitest";
import { parseApiKeys } from "../src/ai/apiKeys.ts";
import { chooseModel } from "../src/ai/chooseModel.ts";
import { retryAfter } from "../src/ai/failure.ts";
import type { ChatMessage } from "../src/ai/languageModel.ts";
import { pieces } from "../src/ai/stub.ts";

describe("the choice of a model", () => {
  it("is the large one once the conversation is longer than the limit", () => {
    const rule = { model: "large", smallModel: "small", smallModelCharacters: 10 };
    const said = (length: number): ChatMessage => ({ role: "user", content: "x".repeat(length) });
    expect(chooseModel([said(10)], rule)).toBe("small");
    expect(chooseModel([said(11)], rule)).toBe("large");
    expect(chooseModel([said(5), said(6)], rule)).toBe("large");
  });
});

describe("Retry-After", () => {
  it("is read as seconds or as a date, and anything else is none", () => {
    const now = Date.parse("2026-01-01T00:00:00Z");
    expect(retryAfter("7", now)).toBe(7);
    expect(retryAfter("Thu, 01 Jan 2026 00:00:09 GMT", now)).toBe(9);
    expect(retryAfter("Wed, 31 Dec 2025 00:00:00 GMT", now)).toBe(0);
    expect(retryAfter("soon", now)).toBeUndefined();
    expect(retryAfter(null, now)).toBeUndefined();
  });
});

describe("a file of API keys", () => {
  it("has one key per line, and is refused with anything else in it", () => {
    expect(parseApiKeys("a\n\n b \r\n")).toEqual(["a", "b"]);
    expect(parseApiKeys("\n")).toContain("expected");
    expect(parseApiKeys("a b")).toContain("expected");
  });
});

describe("a text in pieces", () => {
  it.each([
    "",
    " ",
    "one",
    "one  two\n\nthree ",
    "\u65e5\u672c\u8a9e\u306e\u6587\u7ae0".repeat(20),
    "x".repeat(100),
  ])("is the same text again: %j", (text) => {
    expect(pieces(text).join("")).toBe(text);
  });
});
