/** What the container is said to hold where there is more in it than the programs put there. */
import { describe, expect, test } from "vitest";

import { inPrograms } from "./backupPrograms.ts";

const stock = `
from types import SimpleNamespace
from unittest.mock import MagicMock
from holdings import take_stock

class Container:
    def list_blobs(self, name_starts_with):
        return [SimpleNamespace(name=name, size=1) for name in given if name.startswith(name_starts_with)]
    def download_blob(self, name):
        return MagicMock(readall=lambda: given[name].encode())
held = take_stock(Container())
print(json.dumps({"records": [record.name for record in held.records], "verified": held.verified and held.verified.label}))
`;

const verified = "hourly/20260101T000700Z";
const record = "verifications/20260102T000000Z.passed.json";
const blobs = {
  [`dumps/${verified}.dump.age`]: "dump",
  [`dumps/${verified}.json`]: "{}",
  [record]: JSON.stringify({ backup: verified }),
};

// Each starts Python, which a busy machine does slowly.
describe("what is held", { timeout: 30_000 }, () => {
  test.each([
    "note.txt",
    "20260103T000000Z.json",
    "20260103T000000Z.passed.json.bak",
    "20260103T000000Z.unknown.json",
    "20269999T000000Z.passed.json",
    "older/20260103T000000Z.passed.json",
  ])("is told although verifications/%s lies there, which is no record", (name) => {
    const held = inPrograms(stock, { ...blobs, [`verifications/${name}`]: "{}" });
    expect(held).toEqual({ records: [record], verified });
  });

  test.each(["", "no JSON", "[]", "null", '{"backup": 7}', "{}"])(
    "is told although the newest record says %j, and so not what was verified",
    (body) => {
      const unreadable = "verifications/20260103T000000Z.passed.json";
      const held = inPrograms(stock, { ...blobs, [unreadable]: body });
      expect(held).toEqual({ records: [record, unreadable], verified });
    },
  );
});
