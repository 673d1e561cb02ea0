import type { DiffKind } from "../common/provider.ts";
import { isObject, isUnknown, scalarText, type Json, type JsonObject } from "../common/wire.ts";
import { forcesReplace } from "./replaceRules.ts";

type Path = (string | number)[];

/** The differences between a pruned live object and the inputs that are to replace it, by property path. */
export function compare(old: JsonObject, wanted: JsonObject, rules: string[]): Map<string, DiffKind> {
  const found = new Map<string, DiffKind>();
  const add = (path: Path, kind: "ADD" | "DELETE" | "UPDATE"): void => {
    found.set(formatPath(path), forcesReplace(path, rules) ? `${kind}_REPLACE` : kind);
  };
  const walk = (path: Path, before: Json | undefined, after: Json | undefined): void => {
    if (before === undefined && after === undefined) return;
    if (before === undefined) {
      add(path, "ADD");
    } else if (after === undefined) {
      add(path, "DELETE");
    } else if (isObject(before) && isObject(after)) {
      for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
        walk([...path, key], before[key], after[key]);
      }
    } else if (Array.isArray(before) && Array.isArray(after)) {
      for (let index = 0; index < Math.max(before.length, after.length); index++) {
        walk([...path, index], before[index], after[index]);
      }
    } else if (isUnknown(after) || !sameScalar(path, before, after)) {
      add(path, "UPDATE");
    }
  };
  walk([], old, wanted);
  return found;
}

const QUANTITY_PARENTS = new Set([
  "requests",
  "limits",
  "capacity",
  "hard",
  "default",
  "defaultRequest",
  "min",
  "max",
]);
const QUANTITY_FIELDS = new Set(["sizeLimit", "averageValue", "divisor"]);

function sameScalar(path: Path, before: Json, after: Json): boolean {
  if (before === after) return true;
  const [parent, field] = path.slice(-2).map(String);
  if (!QUANTITY_PARENTS.has(parent ?? "") && !QUANTITY_FIELDS.has(field ?? "")) return false;
  const [left, right] = [quantity(before), quantity(after)];
  return left !== undefined && left === right;
}

const SUFFIXES: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

function quantity(value: Json): number | undefined {
  const match = /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)$/.exec(scalarText(value));
  const factor = SUFFIXES[match?.[2] ?? ""];
  return match && factor !== undefined ? Number(match[1]) * factor : undefined;
}

export function formatPath(path: Path): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else if (/[."[\]]/.test(step)) text += `["${step.replaceAll('"', '\\"')}"]`;
    else text += text ? `.${step}` : step;
  }
  return text;
}

/** Leaves out the differences that `ignoreChanges` names, or that lie within what it names. */
export function withoutIgnored(diff: Map<string, DiffKind>, ignored: string[]): Map<string, DiffKind> {
  const plain = (path: string): string => path.replaceAll(/\["?([^"\]]*)"?\]/g, ".$1").replace(/^\./, "");
  const patterns = ignored.map((path) => plain(path).split("."));
  return new Map(
    [...diff].filter(([path]) => {
      const steps = plain(path).split(".");
      return !patterns.some((pattern) =>
        pattern.every((part, index) => part === "*" || part === steps[index]),
      );
    }),
  );
}
