import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { default as addFormats } from "ajv-formats";
import { methods, openApiDocument } from "../../src/http/openapi.ts";
import type { Answer, TestService } from "./service.ts";

interface DocumentedResponse {
  $ref?: string;
  content?: Record<string, unknown>;
}

interface DocumentedOperation {
  template: string;
  pointer: string;
  method: string;
  pattern: RegExp;
  responses: Record<string, DocumentedResponse>;
}

/** What was answered to a request, as far as the document speaks of it. */
export type Exchange = Pick<Answer, "status" | "body"> & {
  method: string;
  /** As it was sent: dots in it are not resolved, for the service does not do so either. */
  path: string;
  contentType: string | null;
};

/** Refusals of requests that cannot be read, whatever they ask for: the document speaks of them once for all. */
const unreadable = [400, 413, 415, 431];

/** Compares answers with the OpenAPI document. */
export class Conformance {
  readonly document = openApiDocument();
  readonly operations: readonly DocumentedOperation[];
  readonly #ajv = new Ajv2020({ strict: false, allErrors: true });
  readonly #validators = new Map<string, ValidateFunction>();

  constructor() {
    addFormats.default(this.#ajv);
    this.#ajv.addSchema(this.document, "openapi");
    this.operations = Object.entries(this.document.paths ?? {})
      .flatMap(([template, item]) =>
        methods.flatMap((method) => {
          const responses = item[method]?.responses;
          const pointer = `/paths/${escaped(template)}/${method}/responses`;
          return responses ? [{ template, pointer, method, pattern: patternOf(template), responses }] : [];
        }),
      )
      // Of /a/me and /a/{id}, the one that says more is meant.
      .sort((a, b) => a.template.split("{").length - b.template.split("{").length);
  }

  /** What the answer has that the document does not say, or nothing. */
  mismatch({ method, path, status, contentType, body }: Exchange): string | undefined {
    const [pathname = ""] = path.split("?", 1);
    const wanted = method === "HEAD" ? "get" : method.toLowerCase();
    const operation = this.operations.find(
      (known) => known.method === wanted && known.pattern.test(pathname),
    );
    const where = `${method} ${operation?.template ?? "(no route)"} answered ${status}`;
    const type = (contentType ?? "").split(";")[0]?.trim() ?? "";
    const problem = this.#errorsOf("/components/schemas/Problem", body);
    const isProblem = type === "application/problem+json" && (method === "HEAD" || problem === undefined);
    if (!operation) {
      return isProblem && [...unreadable, 404].includes(status) ? undefined : `${where} as ${type}`;
    }
    const direct = operation.responses[String(status)];
    if (!direct) {
      if (isProblem && unreadable.includes(status)) {
        return undefined;
      }
      return `${where}, a status that is not documented`;
    }
    const pointer = direct.$ref?.slice(1) ?? `${operation.pointer}/${status}`;
    const content = (direct.$ref === undefined ? direct : this.#resolve(direct.$ref)).content ?? {};
    if (Object.keys(content).length === 0) {
      return body === "" ? undefined : `${where} with a body where none is documented`;
    }
    const range = `${type.split("/")[0] ?? ""}/*`;
    if (!(type in content) && !(range in content)) {
      return `${where} as ${type || "nothing"}, documented is ${Object.keys(content).join(", ")}`;
    }
    if (!type.endsWith("json") || method === "HEAD") {
      return undefined;
    }
    const errors = this.#errorsOf(`${pointer}/content/${escaped(type)}/schema`, body);
    return errors === undefined ? undefined : `${where} with a body that does not fit: ${errors}`;
  }

  #errorsOf(pointer: string, body: unknown): string | undefined {
    const validate = this.#validators.get(pointer) ?? this.#ajv.compile({ $ref: `openapi#${pointer}` });
    this.#validators.set(pointer, validate);
    return validate(body) ? undefined : this.#ajv.errorsText(validate.errors, { dataVar: "body" });
  }

  #resolve(reference: string): DocumentedResponse {
    const name = reference.slice(reference.lastIndexOf("/") + 1);
    return this.document.components?.responses?.[name] ?? {};
  }
}

/** In a JSON pointer that is part of a URI. */
function escaped(key: string): string {
  return encodeURIComponent(key.replaceAll("~", "~0").replaceAll("/", "~1"));
}

/** As Express matches it: whatever the case, with or without a slash at the end. */
function patternOf(template: string): RegExp {
  return new RegExp(`^${template.replaceAll(/\{\w+\}/g, "[^/]+")}/?$`, "i");
}

/** The service, whose `call` now fails for every answer that the OpenAPI document does not describe. */
export function conforming(service: TestService): TestService {
  const conformance = new Conformance();
  return {
    ...service,
    call: async (method, path, options) => {
      const answer = await service.call(method, path, options);
      const contentType = answer.headers.get("content-type");
      // Tidied up as fetch does it before it sends.
      const { pathname } = new URL(path, service.url);
      const mismatch = conformance.mismatch({ ...answer, method, path: pathname, contentType });
      if (mismatch !== undefined) {
        throw new Error(`not as the OpenAPI document says: ${mismatch}`);
      }
      return answer;
    },
  };
}
