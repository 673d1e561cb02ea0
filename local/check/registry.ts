/** Asks registries whether they have an image, as a node would. */
import { failed, ok, skipped, type Finding } from "./findings.ts";

export interface ImageReference {
  readonly registry: string;
  readonly repository: string;
  /** Digest where there is one, else the tag. */
  readonly version: string;
}

/** Docker's `config.json`, as far as it is read here. */
export interface DockerConfig {
  readonly auths?: Readonly<Record<string, { readonly auth?: string }>>;
}

/** Takes a reference apart; undefined when it names no registry: an image that was built on this machine. */
export function parseReference(reference: string): ImageReference | undefined {
  const [name = "", digest] = reference.split("@");
  const slash = name.indexOf("/");
  const registry = name.slice(0, slash);
  if (slash < 0 || !/[.:]|^localhost$/.test(registry)) return undefined;
  const path = name.slice(slash + 1);
  const [repository = "", tag = "latest"] = path.split(":");
  return { registry, repository, version: digest ?? tag };
}

const manifestTypes = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

/** Whether every image can be had, one finding for each registry. */
export async function checkImages(
  images: readonly { readonly name: string; readonly reference?: string | undefined }[],
  credentials: DockerConfig,
): Promise<Finding[]> {
  const parsed = images.flatMap(({ name, reference }) => {
    const image = reference === undefined ? undefined : parseReference(reference);
    return image ? [{ name, image }] : [];
  });
  const registries = [...new Set(parsed.map(({ image }) => image.registry))];
  const local = images.length - parsed.length;
  const findings = await Promise.all(
    registries.map(async (registry) => {
      const check = `registry ${registry}`;
      const wanted = parsed.filter(({ image }) => image.registry === registry);
      const problems = await Promise.all(
        wanted.map(async ({ name, image }) => {
          const problem = await missing(image, credentials);
          return problem === undefined ? [] : [`${name}: ${problem}`];
        }),
      );
      const all = problems.flat();
      if (all.length === 0) return ok(check, `${wanted.length} image(s) found`);
      return failed(
        check,
        all.join("; "),
        "push or import the image, name the right one in groundwork:images, or sign in: docker login, and " +
          "groundwork:registryCredentials for the nodes",
      );
    }),
  );
  return local === 0 ? findings : [...findings, skipped("images", `${local} built on this machine`)];
}

/** Why an image cannot be had; undefined when it can. */
async function missing(image: ImageReference, credentials: DockerConfig): Promise<string | undefined> {
  const { registry, repository, version } = image;
  const host = registry === "docker.io" ? "registry-1.docker.io" : registry;
  const scheme = /^(localhost|127\.0\.0\.1)(:|$)/.test(host) ? "http" : "https";
  const url = `${scheme}://${host}/v2/${repository}/manifests/${version}`;
  try {
    const first = await ask(url);
    const answer =
      first.status === 401 ? await signedIn(url, first, credentials.auths?.[registry]?.auth) : first;
    if (answer.ok) return undefined;
    if (answer.status === 404) return `${repository} has no ${version}`;
    if (answer.status === 401 || answer.status === 403) return `not allowed to pull ${repository}`;
    return `the registry answered ${answer.status}`;
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return `the registry cannot be reached (${cause instanceof Error ? cause.message : String(cause)})`;
  }
}

function ask(url: string, authorization?: string): Promise<Response> {
  return fetch(url, {
    method: "HEAD",
    headers: { accept: manifestTypes, ...(authorization !== undefined && { authorization }) },
    signal: AbortSignal.timeout(15_000),
  });
}

/** Asks again as whoever the credentials are of; registries hand out a token for each repository, to anybody for public ones. */
async function signedIn(url: string, refused: Response, basic: string | undefined): Promise<Response> {
  const challenge = refused.headers.get("www-authenticate") ?? "";
  const own = basic === undefined ? undefined : `Basic ${basic}`;
  if (!/^bearer/i.test(challenge)) return own === undefined ? refused : ask(url, own);
  const parameter = (name: string): string => new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1] ?? "";
  const query = new URLSearchParams({ service: parameter("service"), scope: parameter("scope") });
  const answer = await fetch(`${parameter("realm")}?${query.toString()}`, {
    ...(own !== undefined && { headers: { authorization: own } }),
    signal: AbortSignal.timeout(15_000),
  });
  if (!answer.ok) return answer;
  const { token, access_token: accessToken } = (await answer.json()) as {
    token?: string;
    access_token?: string;
  };
  return ask(url, `Bearer ${token ?? accessToken ?? ""}`);
}
