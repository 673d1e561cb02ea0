/** Every password of Postgres and both Redis is changed; the command itself sees that the old ones are refused. */
import { rotate } from "../../local/rotate.ts";
import { duringWrites, type Outcome } from "./writes.ts";

export function passwordsRotated(): Promise<Outcome> {
  // As the stack was made that faults are made on.
  process.env["HA"] = "1";
  return duringWrites(() => rotate("all"));
}
