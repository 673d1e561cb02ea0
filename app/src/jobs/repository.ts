import { createHash } from "node:crypto";
import type { PoolClient } from "pg";
import { audit } from "../audit/audit.ts";
import type { FieldCipher } from "../crypto/fieldCipher.ts";
import type { Database } from "../db/database.ts";
import type { Cursor } from "../documents/cursor.ts";
import { Problem } from "../http/problem.ts";
import type { JobAnswer, JobKind, Payload, WorkOrder } from "./job.ts";
import { enqueue } from "./outbox.ts";

interface PayloadRow {
  payload: unknown;
  sealed_payload: string | null;
}

interface JobRow {
  id: string;
  kind: JobKind;
  state: JobAnswer["state"];
  attempts: number;
  error: string | null;
  result: unknown;
  sealed_result: string | null;
  subject: string;
  created_at: Date;
  finished_at: Date | null;
}

const columns = "id, kind, state, attempts, error, result, sealed_result, subject, created_at, finished_at";
/** A job that is neither done nor given up. */
const open = "state in ('pending', 'queued')";
/** What a caller asks for, and is answered, only the app can read. */
const sealedKinds: readonly JobKind[] = ["generate"];

/** Jobs in Postgres. No query names the tenant: row-level security does, by the transaction's setting. */
export class JobRepository {
  readonly #database: Database;
  readonly #cipher: FieldCipher;

  constructor(database: Database, cipher: FieldCipher) {
    this.#database = database;
    this.#cipher = cipher;
  }

  /** @throws a 422 problem when this user has used the key for another prompt. */
  async createGeneration(
    tenantId: string,
    subject: string,
    payload: Payload<"generate">,
    key: string | undefined,
  ): Promise<JobAnswer> {
    // Keys are the user's own: two who choose the same one ask for two jobs.
    const idempotencyKey = key && createHash("sha256").update(`${subject} ${key}`).digest("hex");
    const sealed = await this.#cipher.encrypt("jobs.sealed_payload", JSON.stringify(payload));
    return this.#database.asTenant(tenantId, async (client) => {
      const job = { kind: "generate", payload: sealed, subject, idempotencyKey } as const;
      const { id, created } = await enqueue(client, job);
      if (created) {
        await audit(client, {
          subject,
          action: "job.create",
          target: `job/${id}`,
          detail: { kind: "generate" },
        });
      }
      const { rows } = await client.query<JobRow & PayloadRow>(
        `select ${columns}, payload, sealed_payload from jobs where id = $1`,
        [id],
      );
      const [row] = rows;
      if (!row || JSON.stringify(await this.#payload(row)) !== JSON.stringify(payload)) {
        throw new Problem(422, { detail: "the Idempotency-Key was used for another prompt" });
      }
      return this.#answer(row);
    });
  }

  async get(tenantId: string, id: string): Promise<JobAnswer | undefined> {
    return this.#read(tenantId, async (client) => {
      const { rows } = await client.query<JobRow>(`select ${columns} from jobs where id = $1`, [id]);
      return rows[0] && this.#answer(rows[0]);
    });
  }

  /** Newest first. */
  async deadLetters(tenantId: string, limit: number, after: Cursor | undefined): Promise<JobAnswer[]> {
    return this.#read(tenantId, async (client) => {
      const { rows } = await client.query<JobRow>(
        `select ${columns} from jobs
         where state = 'dead' and ($2::timestamptz is null or (created_at, id) < ($2, $3::uuid))
         order by created_at desc, id desc limit $1`,
        [limit, after?.createdAt ?? null, after?.id ?? null],
      );
      return Promise.all(rows.map((row) => this.#answer(row)));
    });
  }

  /**
   * Has a dead letter tried anew, with all its attempts.
   * @returns undefined when there is no such job.
   * @throws a 409 problem when it is not dead.
   */
  async redrive(tenantId: string, subject: string, id: string): Promise<JobAnswer | undefined> {
    return this.#database.asTenant(tenantId, async (client) => {
      const { rows } = await client.query<JobRow>(
        `update jobs set state = 'pending', attempts = 0, error = null, finished_at = null
         where id = $1 and state = 'dead' returning ${columns}`,
        [id],
      );
      const [row] = rows;
      if (row) {
        await audit(client, {
          subject,
          action: "job.redrive",
          target: `job/${id}`,
          detail: { kind: row.kind },
        });
        return this.#answer(row);
      }
      const { rowCount } = await client.query("select from jobs where id = $1", [id]);
      if (rowCount === 1) {
        throw new Problem(409, { detail: "the job is not a dead letter" });
      }
      return undefined;
    });
  }

  /** What a worker needs to begin; undefined when the tenant has no such job. */
  async workOrder(tenantId: string, id: string): Promise<WorkOrder | undefined> {
    return this.#read(tenantId, async (client) => {
      const { rows } = await client.query<Omit<WorkOrder, "payload"> & PayloadRow>(
        `select id, tenant_id as "tenantId", kind, payload, sealed_payload, state, request_id as "requestId", traceparent
         from jobs where id = $1`,
        [id],
      );
      const [row] = rows;
      return row && { ...row, payload: () => this.#payload(row) };
    });
  }

  /**
   * Records what the job came to, in one transaction with its effect.
   * @returns undefined, with no effect, when it was recorded before.
   */
  async finish<T>(
    tenantId: string,
    id: string,
    effect: (client: PoolClient) => Promise<T>,
  ): Promise<T | undefined> {
    return this.#database.asTenant(tenantId, async (client) => {
      const { rows } = await client.query<{ kind: JobKind }>(
        `select kind from jobs where id = $1 and ${open} for update`,
        [id],
      );
      const [row] = rows;
      if (!row) {
        return undefined;
      }
      const result = await effect(client);
      const text = JSON.stringify(result);
      const stored = sealedKinds.includes(row.kind)
        ? [null, await this.#cipher.encrypt("jobs.sealed_result", text)]
        : [text, null];
      await client.query(
        `update jobs set state = 'done', error = null, result = $2, sealed_result = $3, finished_at = now()
         where id = $1`,
        [id, ...stored],
      );
      return result;
    });
  }

  /**
   * Counts a failed attempt; the one that uses up `most` makes the job a dead letter.
   * @param reason for the tenant's eyes: no secrets.
   * @returns the job's state afterwards.
   */
  async fail(tenantId: string, id: string, reason: string, most: number): Promise<JobAnswer["state"]> {
    return this.#database.asTenant(tenantId, async (client) => {
      const { rows } = await client.query<{ state: JobAnswer["state"] }>(
        `update jobs set attempts = attempts + 1, error = $2,
           state = case when attempts + 1 >= $3 then 'dead' else state end,
           finished_at = case when attempts + 1 >= $3 then now() end
         where id = $1 and ${open} returning state`,
        [id, reason.slice(0, 500), most],
      );
      return rows[0]?.state ?? "done";
    });
  }

  async #payload({ payload, sealed_payload: sealed }: PayloadRow): Promise<unknown> {
    return sealed === null ? payload : JSON.parse(await this.#cipher.decrypt("jobs.sealed_payload", sealed));
  }

  async #answer(row: JobRow): Promise<JobAnswer> {
    const { sealed_result: sealed } = row;
    return {
      id: row.id,
      kind: row.kind,
      state: row.state,
      attempts: row.attempts,
      error: row.error,
      result:
        sealed === null ? row.result : JSON.parse(await this.#cipher.decrypt("jobs.sealed_result", sealed)),
      createdBy: row.subject,
      createdAt: row.created_at.toISOString(),
      finishedAt: row.finished_at?.toISOString() ?? null,
    };
  }

  #read<T>(tenantId: string, work: (client: PoolClient) => Promise<T>): Promise<T> {
    return this.#database.asTenant(tenantId, work, { repeatable: true });
  }
}
