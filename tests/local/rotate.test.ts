import { expect, test } from "vitest";
import { verdict } from "../../local/rotate.ts";

test.each([
  ["1\n", true],
  ["PONG\n", true],
  ['psql: error: FATAL:  password authentication failed for user "app_user"', false],
  ['psql: error: FATAL:  role "app_user_2" is not permitted to log in', false],
  [
    "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.\nNOAUTH Authentication required.",
    false,
  ],
  ["psql: error: FATAL:  sorry, too many clients already", undefined],
  ["psql: error: FATAL:  the database system is starting up", undefined],
  ["Could not connect to Redis at 127.0.0.1:6379: Connection refused", undefined],
  ["", undefined],
])("a password is refused only where the server says so: %j is %s", (said, expected) => {
  expect(verdict(said)).toBe(expected);
});
