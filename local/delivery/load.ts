/** `make load PROFILE=…`: users by k6, through the edge, against the targets of the service. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { caPath } from "../identity.ts";
import { repository } from "../stack.ts";
import { say, UserError } from "../system.ts";
import { developmentToken } from "../token.ts";
import { baseUrl } from "../up.ts";
import { runVisibly, tool } from "./checks.ts";

const profiles = ["smoke", "expected", "ten-times", "soak"];

/** Exit status 99 of k6: a threshold was crossed. */
export async function load(profile: string): Promise<number> {
  if (!profiles.includes(profile))
    throw new UserError(`PROFILE is "${profile}" and may be ${profiles.join(", ")}`);
  const report = join(repository, ".render", `load-${profile}.html`);
  await mkdir(join(repository, ".render"), { recursive: true });
  const duration = process.env["DURATION"] ?? "";
  if (duration !== "" && !/^(\d+(h|m|s))+$/.test(duration))
    throw new UserError(`DURATION is "${duration}" and may be a time such as 90s, 30m or 48h`);
  const env = {
    ...process.env,
    PROFILE: profile,
    BASE_URL: baseUrl,
    TOKEN: await developmentToken("editor", "load"),
    SSL_CERT_FILE: caPath(),
    K6_WEB_DASHBOARD: "true",
    K6_WEB_DASHBOARD_PORT: "-1",
    K6_WEB_DASHBOARD_EXPORT: report,
  };
  const code = await runVisibly(await tool("k6"), ["run", "--no-usage-report", "tests/load/profile.js"], env);
  say(`load: ${code === 0 ? "within the targets" : "outside the targets"}; report ${report}`);
  return code;
}
