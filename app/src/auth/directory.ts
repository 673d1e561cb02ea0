import { readFile } from "node:fs/promises";
import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { bulkhead, isBulkheadRejectedError } from "cockatiel";
import {
  Client,
  escapeFilter,
  Filter,
  InappropriateAuthError,
  InvalidCredentialsError,
  NoSuchObjectError,
} from "ldapts";
import type { Logger } from "pino";
import type { LdapConfig } from "../config/settings.ts";
import { within } from "../deadline.ts";
import { Unavailable } from "../http/problem.ts";
import { type Role, roles } from "./rules.ts";

const operationTimeoutMs = 2000;
/** For all steps of one sign-in together. */
const deadlineMs = 5000;
const atOnce = 10;
const waiting = 50;

/** What a directory says of a name and a password; undefined: they do not belong together, or it cannot tell why not. */
export type Checked = { role: Role | undefined } | "no_such_user" | undefined;

/**
 * A directory (LDAP) that knows its users' passwords and groups. It is asked at sign-ins, and at nothing else; each has
 * a connection of its own.
 */
export class Directory {
  /** Name of the tenant whose users the directory has. */
  readonly tenant: string;
  readonly #config: LdapConfig;
  readonly #logger: Logger;
  readonly #turns = bulkhead(atOnce, waiting);

  constructor(config: LdapConfig, logger: Logger) {
    this.tenant = config.tenant;
    this.#config = config;
    this.#logger = logger.child({ module: "auth" });
  }

  /**
   * The highest role that the user's groups give (undefined when none does). That there is no such user only a search
   * can tell: a bind by a name that is made up fails like one with a wrong password.
   * @throws Unavailable when the directory does not answer, or not as it should.
   */
  async check(username: string, password: string): Promise<Checked> {
    if (password === "") {
      // A bind without a password is anonymous, and succeeds (RFC 4513, 5.1.2).
      return undefined;
    }
    try {
      return await this.#turns.execute(() =>
        this.#connected((client) => this.#ask(client, username, password)),
      );
    } catch (error) {
      const reason = isBulkheadRejectedError(error)
        ? "too many sign-ins at once"
        : "the directory does not answer";
      throw new Unavailable(reason, error);
    }
  }

  async #ask(client: Client, username: string, password: string): Promise<Checked> {
    await this.#bindReader(client);
    const found = await this.#find(client, username);
    if (found.length === 0) {
      return "no_such_user";
    }
    const [dn, another] = found;
    if (dn === undefined || another !== undefined || !(await bindUser(client, dn, password))) {
      return undefined;
    }
    await this.#bindReader(client);
    return { role: await this.#roleOf(client, dn, username) };
  }

  async #bindReader(client: Client): Promise<void> {
    const { reader } = this.#config;
    if (reader) {
      await client.bind(reader.dn, (await readFile(reader.passwordFile, "utf8")).trim());
    }
  }

  /** The DNs that the name may stand for: none, one, or two where there are more. */
  async #find(client: Client, username: string): Promise<string[]> {
    const { user } = this.#config;
    if ("dn" in user) {
      return [user.dn.replaceAll("{username}", escapeDnValue(username))];
    }
    const { searchEntries } = await client.search(user.base, {
      filter: user.filter.replaceAll("{username}", Filter.escape(username)),
      // None but the DN, which always comes.
      attributes: ["1.1"],
      sizeLimit: 2,
    });
    if (searchEntries.length > 1) {
      this.#logger.error(
        { username },
        "LDAP_SEARCH_FILTER finds more than one user: nobody is signed in by chance",
      );
    }
    return searchEntries.map(({ dn }) => dn);
  }

  /** Asks each group whether it has the user: that works with every server, and leaves comparing names to it. */
  async #roleOf(client: Client, dn: string, username: string): Promise<Role | undefined> {
    const groups = Object.entries(this.#config.groupRoles).sort(
      ([, one], [, other]) => roles.indexOf(one) - roles.indexOf(other),
    );
    for (const [group, role] of groups) {
      try {
        const filter = escapeFilter`(|(member=${dn})(uniqueMember=${dn})(memberUid=${username}))`;
        const { searchEntries } = await client.search(group, { scope: "base", filter, attributes: ["1.1"] });
        if (searchEntries.length > 0) {
          return role;
        }
      } catch (error) {
        if (!(error instanceof NoSuchObjectError)) {
          throw error;
        }
        this.#logger.warn({ group }, "a group of LDAP_GROUP_ROLES does not exist, or may not be read");
      }
    }
    return undefined;
  }

  async #connected<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const { url, caFile } = this.#config;
    const { protocol, hostname: host, port } = new URL(url);
    const tls = {
      minVersion: "TLSv1.2",
      // What the certificate must name; an address is not sent along (RFC 6066).
      host,
      ...(isIP(host) === 0 && { servername: host }),
      ...(caFile !== undefined && { ca: await readFile(caFile) }),
    } as const;
    let socket: Socket | undefined;
    // The client is documented to connect again by itself: after StartTLS that would be in the clear.
    const once = <S extends Socket>(open: () => S): S => {
      if (socket) {
        throw new Error("the directory closed the connection");
      }
      const opened = open();
      socket = opened;
      return opened;
    };
    const client = new Client({
      url,
      timeout: operationTimeoutMs,
      connectTimeout: operationTimeoutMs,
      ...(protocol === "ldaps:"
        ? { createSecureConnection: () => once(() => connectTls({ ...tls, port: Number(port || 636) })) }
        : { createConnection: () => once(() => connect(Number(port || 389), host)) }),
    });
    try {
      return await within(
        deadlineMs,
        (async () => {
          if (protocol === "ldap:") {
            await client.startTLS(tls);
          }
          return work(client);
        })(),
      );
    } finally {
      socket?.destroy();
    }
  }
}

/** Whether the password is the user's. Other errors are the directory's. */
async function bindUser(client: Client, dn: string, password: string): Promise<boolean> {
  try {
    await client.bind(dn, password);
    return true;
  } catch (error) {
    if (error instanceof InvalidCredentialsError || error instanceof InappropriateAuthError) {
      return false;
    }
    throw error;
  }
}

/** RFC 4514 (2.4): any byte may be written in hexadecimal, so all are that could mean something. */
export function escapeDnValue(value: string): string {
  return value.replace(/[^\w.@-]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join(""),
  );
}
