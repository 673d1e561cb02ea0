import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

import { describe, expect, test } from "vitest";

import { flows, workloads } from "../../components/flows.ts";
import {
  configurationKeys,
  configurationPage,
  formOf,
  secretKeys,
} from "../../docs/generate/configuration.ts";
import { flowDiagrams, withFlowDiagrams } from "../../docs/generate/flows.ts";

const root = join(import.meta.dirname, "../..");
const read = (file: string): string => readFileSync(join(root, file), "utf8");
/** Every page of the repository; one that is not committed yet counts, one that git ignores does not. */
const pages = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"], {
  cwd: root,
  encoding: "utf8",
})
  .trim()
  .split("\n")
  .filter((file) => existsSync(join(root, file)));
const withoutBlocks = (text: string): string => text.replace(/^ *```[\s\S]*?^ *```/gm, "");
/** What stands in code: spans, and lines of blocks that are not diagrams. */
const codeOf = (page: string): string[] => {
  const text = read(page);
  const blocks = [...text.matchAll(/^ *```(?!mermaid)\w*\n([\s\S]*?)^ *```/gm)].map(
    ([, block = ""]) => block,
  );
  const spans = [...withoutBlocks(text).matchAll(/(?<!`)`([^`]+)`(?!`)/g)].map(([, span = ""]) => span);
  return [...blocks.flatMap((block) => block.split("\n")), ...spans];
};

/** The anchors that GitHub gives a page's headings. */
function anchorsOf(text: string): Set<string> {
  const seen = new Map<string, number>();
  const anchors = [...withoutBlocks(text).matchAll(/^#{1,6} (.*)$/gm)].map(([, heading = ""]) => {
    const shown = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
    const slug = shown
      .toLowerCase()
      .replace(/[^\p{L}\p{M}\p{N}\p{Pc} -]/gu, "")
      .replaceAll(" ", "-");
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return count === 0 ? slug : `${slug}-${count}`;
  });
  return new Set(anchors);
}

/** What of a page's relative links leads nowhere. */
function deadLinks(page: string, text: string): string[] {
  return [...withoutBlocks(text).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => {
      const [file = "", anchor] = target.split("#");
      const path = file === "" ? page : normalize(join(dirname(page), file));
      if (!existsSync(join(root, path))) return true;
      return (
        anchor !== undefined && !anchorsOf(file === "" ? text : read(path)).has(decodeURIComponent(anchor))
      );
    });
}

describe("links", () => {
  test.each(pages)("of %s lead to files and headings that exist", (page) => {
    expect(deadLinks(page, read(page))).toEqual([]);
  });

  test("that lead nowhere are found, by file and by heading", () => {
    const text =
      "# One page\n[a](none.md) [b](README.md#no-such-heading) [c](#one-page) [d](https://example.org)";
    expect(deadLinks("README.md", text)).toEqual(["none.md", "README.md#no-such-heading"]);
  });

  test("reach every page of docs/ from its index", () => {
    const linked = [...read("docs/README.md").matchAll(/\]\(([^)#]+)(#[^)]*)?\)/g)].map(
      ([, file = ""]) => file,
    );
    const listed = pages.filter((page) => /^docs\/(?!README)[^/]+\.md$|^docs\/[^/]+\/README\.md$/.test(page));
    expect(listed.map((page) => page.slice("docs/".length)).filter((file) => !linked.includes(file))).toEqual(
      [],
    );
  });
});

describe("what pages name", () => {
  const targets = new Set([...read("Makefile").matchAll(/^([a-z-]+):.*##/gm)].map(([, name]) => name));

  // The page of limits names what is not there.
  test.each(pages.filter((page) => page !== "docs/limits.md"))("exists: the make targets of %s", (page) => {
    const named = codeOf(page).flatMap((code) =>
      [...code.matchAll(/(?:^|[\s($;&|])make (?:-s )?([a-z][a-z-]*)/g)].map(([, name]) => name),
    );
    expect(named.filter((name) => !targets.has(name))).toEqual([]);
  });

  /** Targets and variables of every `make` in some lines. */
  const makeWords = (lines: readonly string[]): string[] =>
    lines.flatMap((line) =>
      [...line.matchAll(/(?:^|[\s($;&|])make((?: +[\w-]+(?:=(?:"[^"]*"|[^\s)|;&`]*))?)+)/g)].flatMap(
        ([, words = ""]) =>
          words
            .trim()
            .replaceAll(/="[^"]*"/g, "=")
            .split(/ +/),
      ),
    );
  const variables = new Set([...read("Makefile").matchAll(/\b([A-Z][A-Z_]+)\b/g)].map(([, name]) => name));
  const unknown = (word: string): boolean =>
    !word.startsWith("-") && (word.includes("=") ? !variables.has(word.split("=")[0]) : !targets.has(word));

  test.each(globSync(".github/workflows/*.yml", { cwd: root }))("exists: what %s has make do", (workflow) => {
    const words = makeWords(
      read(workflow)
        .split("\n")
        .filter((line) => !/^ *#/.test(line)),
    );
    expect(words.length).toBeGreaterThan(1);
    expect(words.filter(unknown)).toEqual([]);
  });

  test.each(pages)("exists: the variables that %s gives to make", (page) => {
    const words = makeWords(codeOf(page)).filter((word) => word.includes("="));
    expect(words.filter(unknown)).toEqual([]);
  });

  test.each(pages)("exists: the files and folders of %s", (page) => {
    const top =
      /^(app|components|docs|images|k8s-manifests|local|policy|tests|examples|\.github|\.ci)\/[\w./*-]*$/;
    const base = page.startsWith("app/") ? join(root, "app") : root;
    const missing = codeOf(page).filter(
      (code) => top.test(code) && globSync(code, { cwd: base }).length === 0,
    );
    expect(missing).toEqual([]);
  });

  test.each(pages)("exists: the configuration keys of %s", (page) => {
    const known = [...configurationKeys(), ...secretKeys()].map(({ path }) => path);
    const named = codeOf(page).flatMap((code) =>
      [...code.matchAll(/groundwork:([a-zA-Z][\w.]*\w)/g)].map(([key]) => key),
    );
    // A section counts, and so does a name that a map is given.
    const maps = [
      "groundwork:images.",
      "groundwork:monitoring.existing.labels.",
      "groundwork:app.variables.",
      "groundwork:appFiles.",
    ];
    const exists = (key: string): boolean =>
      known.some((path) => path === key || path.startsWith(`${key}.`)) ||
      maps.some((map) => key.startsWith(map));
    expect(named.filter((key) => !exists(key))).toEqual([]);
  });

  test.each(pages)("exists: the routes of %s", (page) => {
    const { paths } = JSON.parse(read("docs/api/openapi.json")) as { paths: Record<string, object> };
    const routes = Object.entries(paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const named = codeOf(page).flatMap((code) =>
      [...code.matchAll(/\b(GET|POST|PUT|PATCH|DELETE) (\/api\/[\w/{}.:-]+)/g)].map(
        ([, method, path = ""]) => `${String(method)} ${path.replace(/:(\w+)/g, "{$1}")}`,
      ),
    );
    expect(named.filter((route) => !routes.includes(route))).toEqual([]);
  });
});

describe("lists that must be complete", () => {
  test.each([
    ["the stack", "package.json", "The stack, its tools and its tests"],
    ["the app", "app/package.json", "The app"],
  ])("every direct dependency of %s has its reason, and no other has", (_, file, heading) => {
    const { dependencies, devDependencies } = JSON.parse(read(file)) as Record<
      string,
      Record<string, string>
    >;
    const section = read("docs/dependencies.md")
      .split(/^## /m)
      .find((text) => text.startsWith(`${heading}\n`));
    const rows = [...(section ?? "").matchAll(/^\| `([^`]+)` +\| +(\S.*?) +\|$/gm)].map(([, name]) => name);
    expect(rows.sort()).toEqual(Object.keys({ ...dependencies, ...devDependencies }).sort());
  });

  test("every requirement has one row that says where it is and in what state", () => {
    const areas = { A: 9, B: 16, C: 5, D: 4, E: 8, F: 9, G: 5, H: 6, I: 6, J: 4, K: 4 };
    const wanted = Object.entries(areas).flatMap(([area, count]) =>
      Array.from({ length: count }, (_, index) => `${area}${index + 1}`),
    );
    const rows = [...read("docs/requirements.md").matchAll(/^\| ([A-K]\d+) +\|(.*)\|(.*)\|(.*)\|$/gm)];
    expect(rows.map(([, row]) => row)).toEqual(wanted);
    for (const [, row, , where = "", state = ""] of rows) {
      expect(state.trim(), row).toMatch(/^(there|partly: .+|\*\*not yet\*\*)$/);
      if (!state.includes("not yet")) expect(where.trim(), `${String(row)} is nowhere`).not.toBe("");
    }
  });

  test("the two READMEs have the same commands and lead to the same places", () => {
    const [english, japanese] = [read("README.md"), read("README.ja.md")];
    const commands = (text: string): string[] =>
      [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, block = ""]) =>
        block
          .split("\n")
          .map((line) => line.replace(/ +#.*$/, "").replace(/"(title|content)":"[^"]*"/g, '"$1":""')),
      );
    expect(commands(japanese)).toEqual(commands(english));
    const images = (text: string): number => (text.match(/^```mermaid/gm) ?? []).length;
    expect(images(japanese)).toBe(images(english));
  });
});

describe("what is generated", () => {
  const current = "written by `make docs`; run it and commit what it writes";

  test("docs/configuration.md is current", () => {
    expect(read("docs/configuration.md"), current).toBe(configurationPage());
  });

  test("the diagrams of network flows in docs/architecture.md are current", () => {
    const page = read("docs/architecture.md");
    expect(page, current).toBe(withFlowDiagrams(page, flowDiagrams(flows, workloads)));
  });

  test("every connection is drawn once, with all its ports", () => {
    const diagrams = flowDiagrams(flows, workloads);
    for (const { from, to, port, protocol } of flows) {
      const [source, target] = [from === "internet" ? "clients" : from, to === "internet" ? "outside" : to];
      const arrows = [
        ...diagrams.matchAll(new RegExp(`^  ${source} -->\\|([\\d, /udp]+)\\| ${target}$`, "gm")),
      ];
      expect(arrows.length, `${from} → ${to}`).toBe(1);
      expect(arrows[0]?.[1]?.split(", ")).toContain(protocol === "UDP" ? `${port}/udp` : String(port));
    }
  });

  test("every configuration key says what it means", () => {
    const silent = [...configurationKeys(), ...secretKeys()].filter(({ meaning }) => meaning === "");
    expect(silent.map(({ path }) => path)).toEqual([]);
  });

  test("says of a key what it may be, and what it is by default", () => {
    const key = (path: string) => configurationKeys().find((entry) => entry.path === `groundwork:${path}`);
    expect(key("app.replicas")).toMatchObject({ form: "whole number, 1 to 100", fallback: "`1`" });
    expect(key("environment")).toMatchObject({ fallback: "**required**" });
    expect(key("backups.ageRecipient")).toMatchObject({ form: "an age recipient (age1…)" });
    expect(key("registry")).toMatchObject({ fallback: "none" });
    expect(formOf({ type: "array", items: { type: "boolean" } })).toBe("list of: `true`, `false`");
  });
});
