import { hash } from "argon2";
import { expect, it, vi } from "vitest";
import { Passwords } from "../src/auth/passwords.ts";

vi.mock("argon2", async (original) => {
  const argon2 = await original<typeof import("argon2")>();
  return { ...argon2, hash: vi.fn(argon2.hash) };
});

it("passwords are checked again after the machine had no memory for a hash", async () => {
  const passwords = new Passwords();
  const stored = await passwords.hash("right");
  vi.mocked(hash).mockRejectedValueOnce(new Error("Memory allocation error"));
  await expect(passwords.verify(stored, "right")).rejects.toThrow("Memory");
  expect(await passwords.verify(stored, "right")).toBe(true);
  expect(await passwords.verify(undefined, "nobody's password")).toBe(false);
});
