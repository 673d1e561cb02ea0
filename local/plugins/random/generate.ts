import { randomBytes, randomInt, randomUUID } from "node:crypto";
import { at, isObject, numberAt, textAt, type Json, type JsonObject } from "../common/wire.ts";
import { adjectives, animals } from "./words.ts";

export interface Generated {
  id: string;
  outputs: JsonObject;
  /** Outputs that are secrets. */
  secrets: string[];
}

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
const DIGITS = "0123456789";
const SPECIAL = "!@#$%&*()-_=+[]{}<>:?";

const pick = (alphabet: string): string => alphabet.charAt(randomInt(alphabet.length));

function shuffled<T>(items: T[]): T[] {
  const result = [...items];
  for (let index = result.length - 1; index > 0; index--) {
    const other = randomInt(index + 1);
    const [a, b] = [result[index], result[other]];
    if (a !== undefined && b !== undefined) [result[index], result[other]] = [b, a];
  }
  return result;
}

/** Settings of strings and passwords with their defaults filled in, as they are stored. */
export function stringDefaults(inputs: JsonObject): JsonObject {
  const numeric = inputs.numeric ?? inputs.number ?? true;
  const defaults = {
    special: true,
    upper: true,
    lower: true,
    minLower: 0,
    minNumeric: 0,
    minSpecial: 0,
    minUpper: 0,
  };
  return { ...defaults, ...inputs, numeric, number: numeric };
}

export function randomText(settings: JsonObject): string {
  const override = textAt(settings, "overrideSpecial");
  const classes: [flag: string, minimum: string, alphabet: string][] = [
    ["upper", "minUpper", LETTERS.toUpperCase()],
    ["lower", "minLower", LETTERS],
    ["numeric", "minNumeric", DIGITS],
    ["special", "minSpecial", override || SPECIAL],
  ];
  const enabled = classes.filter(([flag]) => settings[flag] === true);
  const alphabet = enabled.map(([, , letters]) => letters).join("");
  const length = numberAt(settings, "length") ?? 0;
  if (!alphabet) throw new Error("at least one of upper, lower, numeric and special must be true");
  const required = enabled.flatMap(([, minimum, letters]) =>
    Array.from({ length: numberAt(settings, minimum) ?? 0 }, () => pick(letters)),
  );
  if (length < Math.max(1, required.length)) {
    throw new Error(`length is ${length}, but must be at least ${Math.max(1, required.length)}`);
  }
  const rest = Array.from({ length: length - required.length }, () => pick(alphabet));
  return shuffled([...required, ...rest]).join("");
}

function bytes(inputs: JsonObject, field: string): Buffer {
  const length = numberAt(inputs, field) ?? 0;
  if (length < 1) throw new Error(`${field} is ${length}, but must be at least 1`);
  return randomBytes(length);
}

function identifier(inputs: JsonObject): Generated {
  const value = bytes(inputs, "byteLength");
  const prefix = textAt(inputs, "prefix");
  const hex = value.toString("hex");
  const b64Url = value.toString("base64url");
  const outputs: JsonObject = {
    b64Std: prefix + value.toString("base64"),
    b64Url: prefix + b64Url,
    dec: prefix + BigInt(`0x${hex}`).toString(),
    hex: prefix + hex,
  };
  return { id: b64Url, outputs, secrets: [] };
}

function pet(inputs: JsonObject): Generated {
  const separator = textAt(inputs, "separator") || "-";
  const length = numberAt(inputs, "length") ?? 2;
  const word = (list: string[]): string => list[randomInt(list.length)] ?? "";
  const words = Array.from({ length: length - 1 }, () => word(adjectives));
  const id = [...[textAt(inputs, "prefix")].filter(Boolean), ...words, word(animals)].join(separator);
  return { id, outputs: { length, separator }, secrets: [] };
}

function integer(inputs: JsonObject): Generated {
  const result = randomInt(numberAt(inputs, "min") ?? 0, (numberAt(inputs, "max") ?? 0) + 1);
  return { id: String(result), outputs: { result }, secrets: [] };
}

function shuffle(inputs: JsonObject): Generated {
  const given = at(inputs, "inputs");
  const items: Json[] = shuffled(Array.isArray(given) ? given : []);
  return { id: "-", outputs: { results: items.slice(0, numberAt(inputs, "resultCount")) }, secrets: [] };
}

export const generators: Record<string, (inputs: JsonObject) => Generated> = {
  RandomPassword: (inputs) => {
    return { id: "none", outputs: { result: randomText(stringDefaults(inputs)) }, secrets: ["result"] };
  },
  RandomString: (inputs) => {
    const result = randomText(stringDefaults(inputs));
    return { id: result, outputs: { result }, secrets: [] };
  },
  RandomBytes: (inputs) => {
    const value = bytes(inputs, "length");
    const outputs = { base64: value.toString("base64"), hex: value.toString("hex") };
    return { id: outputs.base64, outputs, secrets: ["base64", "hex"] };
  },
  RandomUuid: () => {
    const result = randomUUID();
    return { id: result, outputs: { result }, secrets: [] };
  },
  RandomId: identifier,
  RandomPet: pet,
  RandomInteger: integer,
  RandomShuffle: shuffle,
};

export const isEqual = (left: Json | undefined, right: Json | undefined): boolean =>
  JSON.stringify(sorted(left ?? null)) === JSON.stringify(sorted(right ?? null));

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  const keys = Object.keys(value).sort();
  return Object.fromEntries(keys.map((key) => [key, sorted(value[key] ?? null)]));
}
