/** Colours of the levels on a terminal (ANSI). */
const colours: Record<string, number> = { debug: 90, info: 32, warn: 33, error: 31, fatal: 35 };
const shownElsewhere = ["timestamp", "level", "severity", "module", "message", "error"];

/** A line of the log for a person: time, level, module, message, then what else there is. Takes JSON, ends in \n. */
export function prettyLine(line: string): string {
  const entry = JSON.parse(line) as Record<string, unknown>;
  const { level = "", error } = entry;
  const label = `\u001b[${colours[String(level)] ?? 0}m${String(level).toUpperCase().padEnd(5)}\u001b[0m`;
  const rest = Object.entries(entry)
    .filter(([key, value]) => !shownElsewhere.includes(key) && value !== null)
    .map(([key, value]) => `${key}=${escaped(value)}`);
  const time = String(entry["timestamp"]).slice(11, 23);
  const stack = (error as { stack?: unknown } | undefined)?.stack ?? error;
  const parts = [time, label, `[${escaped(entry["module"])}]`, escaped(entry["message"]), ...rest];
  return `${parts.join(" ")}\n${stack === undefined ? "" : `${linesOf(stack)}\n`}`;
}

/** As in JSON, so that no text commands the terminal; what needs no quotes has none. */
function escaped(value: unknown): string {
  const json = value === undefined ? "" : JSON.stringify(value);
  const plain = /^"(.*)"$/.exec(json)?.[1];
  return escapeRest(plain ?? json);
}

function linesOf(stack: unknown): string {
  const lines = (typeof stack === "string" ? stack : JSON.stringify(stack)).split("\n");
  return lines.map((line) => `  ${escaped(line)}`).join("\n");
}

/** JSON.stringify leaves these as they are. */
function escapeRest(text: string): string {
  return Array.from(text, (character) =>
    /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u.test(character)
      ? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
      : character,
  ).join("");
}
