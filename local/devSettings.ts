/** What the committed file of the dev stack says of its images and its edge. */
import { committedSection } from "./stack.ts";

/** Images that dev's committed file names: they run as they are named, and are not built here. */
export async function namedImages(): Promise<Readonly<Record<string, string>>> {
  return (await committedSection("dev", "images")) as Record<string, string>;
}

/** Whether dev's program builds and pushes by itself what its committed file does not name. */
export async function buildsImages(): Promise<boolean> {
  return "repository" in (await committedSection("dev", "build"));
}

interface EdgeSettings {
  readonly hosts?: readonly string[];
  readonly mode?: string;
  readonly service?: { readonly httpsPort?: number };
}

/** Names that dev's edge answers to. */
export async function edgeHosts(): Promise<readonly string[]> {
  return ((await committedSection("dev", "edge")) as EdgeSettings).hosts ?? ["localhost"];
}

/** Base URL of dev's edge, by its first name; as the program's output `url`. */
export async function edgeUrl(): Promise<string> {
  const { mode, service } = (await committedSection("dev", "edge")) as EdgeSettings;
  const port = mode === "controller" ? undefined : service?.httpsPort;
  const [host = ""] = await edgeHosts();
  return `https://${host}${port === undefined ? "" : `:${port}`}`;
}
