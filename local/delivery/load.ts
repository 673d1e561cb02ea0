/** `make load PROFILE=…`: users by k6, through the edge, against the targets of the service. */
import { mkdir, readFile, rm } from "node:fs/promises";
import { loadavg } from "node:os";
import { join } from "node:path";
import { tableOf, writePart, type Measured } from "../bench/report.ts";
import { edgeUrl } from "../devSettings.ts";
import { caPath } from "../identity.ts";
import { repository } from "../stack.ts";
import { expectedUsers } from "../stackValues.ts";
import { say, UserError } from "../system.ts";
import { tool } from "../tool.ts";
import { runVisibly } from "./checks.ts";
import { ensureAccounts } from "./loadAccounts.ts";
import { figuresOf } from "./loadFigures.ts";

interface Profile {
  /** As many as the expected users times this. */
  readonly times: number;
  readonly leastRequests?: number;
  /** Of its section in docs/benchmarks.md; without one it has none. */
  readonly title?: string;
}

const profiles: Readonly<Record<string, Profile>> = {
  smoke: { times: 0.1 },
  expected: { times: 1, title: "I6: the expected users" },
  "ten-times": { times: 10, leastRequests: 100_000, title: "I6: ten times the expected users" },
  soak: { times: 1, title: "I6: the expected users, for hours" },
};
/** Of k6: a threshold was crossed. */
const outsideTargets = 99;

/** Exit status 1 when a target was missed. */
export async function load(profile: string): Promise<number> {
  const chosen = profiles[profile];
  if (chosen === undefined)
    throw new UserError(`PROFILE is "${profile}" and may be ${Object.keys(profiles).join(", ")}`);
  const duration = process.env["DURATION"] ?? "";
  if (duration !== "" && !/^(\d+(h|m|s))+$/.test(duration))
    throw new UserError(`DURATION is "${duration}" and may be a time such as 90s, 30m or 48h`);
  const users = Math.ceil(chosen.times * (await expectedUsers()));
  const before = loadavg()[0] ?? 0;
  const accounts = await ensureAccounts(users);
  const measured =
    profile === "soak"
      ? // It imports the program's SDK.
        await (await import("./soak.ts")).soak({ accounts, duration: duration || "48h", users })
      : await fromHere({ ...chosen, profile, accounts, duration, users });
  say(`\n${tableOf(measured.figures)}`);
  const missed = measured.figures.filter(({ target, values }) => target?.holds(values[0] ?? NaN) === false);
  if (chosen.title !== undefined) {
    const command = `make load PROFILE=${profile}${duration && ` DURATION=${duration}`}`;
    const loads = [before, loadavg()[0] ?? 0] as const;
    await writePart(`load-${profile}`, { title: chosen.title, command, loads, ...measured });
    say("load: written to docs/benchmarks.md");
  }
  say(missed.length === 0 ? "load: within the targets" : "load: outside the targets");
  return missed.length === 0 ? 0 : 1;
}

interface FromHere extends Profile {
  readonly profile: string;
  readonly accounts: string;
  readonly duration: string;
  readonly users: number;
}

/** k6 as a process of this machine. */
async function fromHere({ profile, accounts, duration, users, leastRequests }: FromHere): Promise<Measured> {
  const directory = join(repository, ".render");
  const [report, summary] = [
    join(directory, `load-${profile}.html`),
    join(directory, `load-${profile}.json`),
  ];
  await mkdir(directory, { recursive: true });
  await rm(summary, { force: true });
  const env = {
    ...process.env,
    PROFILE: profile,
    DURATION: duration,
    USERS: String(users),
    ACCOUNTS: accounts,
    BASE_URL: await edgeUrl(),
    SUMMARY: summary,
    SSL_CERT_FILE: caPath(),
    K6_WEB_DASHBOARD: "true",
    K6_WEB_DASHBOARD_PORT: "-1",
    K6_WEB_DASHBOARD_EXPORT: report,
  };
  const code = await runVisibly(await tool("k6"), ["run", "--no-usage-report", "tests/load/profile.js"], env);
  if (code !== 0 && code !== outsideTargets) throw new UserError(`k6 did not get to its end (${code}).`);
  say(`load: report ${report}`);
  return {
    figures: figuresOf(JSON.parse(await readFile(summary, "utf8")), leastRequests),
    notes: [
      `${users} users sign in, list documents and write one in ten times, half a second between two requests, ` +
        "by k6 on this machine through the edge; each has an address of its own.",
    ],
  };
}
