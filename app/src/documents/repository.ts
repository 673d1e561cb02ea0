import type { Database } from "../db/database.ts";
import type { Cursor } from "./cursor.ts";
import type { DocumentInput, DocumentSummary, StoredDocument } from "./document.ts";

interface SummaryRow {
  id: string;
  title: string;
  created_by: string;
  created_at: Date;
  updated_at: Date;
}

interface DocumentRow extends SummaryRow {
  content: string;
}

const summaryColumns = "id, title, created_by, created_at, updated_at";
const columns = `${summaryColumns}, content`;

/** Documents in Postgres. No query names the tenant: row-level security does, by the transaction's setting. */
export class DocumentRepository {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async create(tenantId: string, subject: string, input: DocumentInput): Promise<StoredDocument> {
    return this.#database.asTenant(tenantId, async (client) => {
      const { rows } = await client.query<DocumentRow>(
        `insert into documents (title, content, created_by) values ($1, $2, $3) returning ${columns}`,
        [input.title, input.content, subject],
      );
      const [row] = rows;
      if (!row) {
        throw new Error("insert returned no row");
      }
      return toDocument(row);
    });
  }

  async get(tenantId: string, id: string): Promise<StoredDocument | undefined> {
    const [row] = await this.#database.readAsTenant<DocumentRow>(
      tenantId,
      `select ${columns} from documents where id = $1`,
      [id],
    );
    return row && toDocument(row);
  }

  async update(tenantId: string, id: string, input: DocumentInput): Promise<StoredDocument | undefined> {
    return this.#one(
      tenantId,
      `update documents set title = $2, content = $3, updated_at = now() where id = $1 returning ${columns}`,
      [id, input.title, input.content],
    );
  }

  /** @returns whether there was such a document. */
  async delete(tenantId: string, id: string): Promise<boolean> {
    return this.#database.asTenant(tenantId, async (client) => {
      const { rowCount } = await client.query("delete from documents where id = $1", [id]);
      return rowCount === 1;
    });
  }

  /** Newest first. */
  async list(tenantId: string, limit: number, after: Cursor | undefined): Promise<DocumentSummary[]> {
    return this.#database.asTenant(
      tenantId,
      async (client) => {
        const { rows } = await client.query<SummaryRow>(
          `select ${summaryColumns} from documents
           where $2::timestamptz is null or (created_at, id) < ($2, $3::uuid)
           order by created_at desc, id desc limit $1`,
          [limit, after?.createdAt ?? null, after?.id ?? null],
        );
        return rows.map(toSummary);
      },
      { repeatable: true },
    );
  }

  async #one(tenantId: string, sql: string, values: unknown[]): Promise<StoredDocument | undefined> {
    return this.#database.asTenant(
      tenantId,
      async (client) => {
        const { rows } = await client.query<DocumentRow>(sql, values);
        return rows[0] && toDocument(rows[0]);
      },
      { repeatable: true },
    );
  }
}

function toSummary(row: SummaryRow): DocumentSummary {
  return {
    id: row.id,
    title: row.title,
    createdBy: row.created_by,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

function toDocument(row: DocumentRow): StoredDocument {
  return { ...toSummary(row), content: row.content };
}
