/** `make preview-comment PR=…`: what an `up` of every stack would change, as one comment that each push brings up to date. */
import { execFile } from "node:child_process";
import { stripVTControlCharacters } from "node:util";
import { repository } from "../stack.ts";
import { run, UserError } from "../system.ts";

/** By this line the comment is found again. */
const marker = "<!-- groundwork previews -->";
/** No pull request gets an identity that could read a real state: it has secrets, and a pull request runs whatever it likes. */
const compared =
  "against the state of the machine that made them. A workflow's is empty: everything is new, and Azure is not asked.";
/** GitHub refuses bodies beyond 65,536 characters. */
const longest = 60_000;

export interface Preview {
  readonly stack: string;
  readonly succeeded: boolean;
  readonly output: string;
}

/** The comment. What is too long loses its beginning: the count of changes is at the end. */
export function commentBody(previews: readonly Preview[], commit: string): string {
  const share = Math.floor(longest / previews.length);
  const sections = previews.map(({ stack, succeeded, output }) => {
    const plain = stripVTControlCharacters(output).trim().replaceAll("```", "'''");
    const shown =
      plain.length > share ? `… (the beginning is in the workflow's log)\n${plain.slice(-share)}` : plain;
    return [
      `### ${stack}: ${succeeded ? (/Resources:[\s\S]*/.exec(plain)?.[0].split("\n").slice(1, 6).join(", ").trim() ?? "no changes") : "the preview failed"}`,
      `<details${succeeded ? "" : " open"}><summary>pulumi preview</summary>\n\n\`\`\`\n${shown}\n\`\`\`\n\n</details>`,
    ].join("\n");
  });
  return [marker, `Previews of ${commit} ${compared}`, ...sections, ""].join("\n\n");
}

/** Previews every stack; posts the comment when PR is a number, prints it otherwise. */
export async function previewComment(pullRequest: string): Promise<number> {
  if (!/^\d*$/.test(pullRequest))
    throw new UserError(`PR is "${pullRequest}" and may be the number of a pull request, or nothing`);
  const previews: Preview[] = [];
  for (const stack of ["dev", "prod"]) previews.push(await previewOf(stack));
  const commit = (await run("git", ["rev-parse", "--short", "HEAD"], { cwd: repository })).trim();
  const body = commentBody(previews, commit);
  if (pullRequest === "") process.stdout.write(body);
  else await post(pullRequest, body);
  return previews.every(({ succeeded }) => succeeded) ? 0 : 1;
}

function previewOf(stack: string): Promise<Preview> {
  return new Promise((resolve) => {
    const options = { cwd: repository, maxBuffer: 64 << 20 };
    execFile("make", ["--silent", "preview", `STACK=${stack}`], options, (error, stdout, stderr) => {
      process.stderr.write(stderr);
      process.stderr.write(stdout);
      const why = error === null ? "" : `\n${stderr.split("\n").slice(-20).join("\n")}`;
      resolve({ stack, succeeded: error === null, output: stdout + why });
    });
  });
}

async function post(pullRequest: string, body: string): Promise<void> {
  const comments = `repos/{owner}/{repo}/issues/${pullRequest}/comments`;
  const mine = `.[] | select(.body | startswith("${marker}")) | .id`;
  const found = await run("gh", ["api", "--paginate", comments, "--jq", mine], {
    cwd: repository,
    env: process.env,
  });
  const [id = ""] = found.trim().split("\n");
  const where = id === "" ? [comments] : ["--method", "PATCH", `repos/{owner}/{repo}/issues/comments/${id}`];
  const input = JSON.stringify({ body });
  await run("gh", ["api", ...where, "--input", "-", "--silent"], {
    cwd: repository,
    env: process.env,
    input,
  });
}
