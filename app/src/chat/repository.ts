import { audit } from "../audit/audit.ts";
import type { Principal } from "../auth/tokens.ts";
import type { FieldCipher } from "../crypto/fieldCipher.ts";
import type { Database } from "../db/database.ts";

export interface FinishedAnswer {
  id: string;
  sessionId: string;
  question: string;
  answer: string;
  model: string;
  degraded: boolean;
}

/** Answers in Postgres, their texts encrypted. */
export class AnswerRepository {
  readonly #database: Database;
  readonly #cipher: FieldCipher;

  constructor(database: Database, cipher: FieldCipher) {
    this.#database = database;
    this.#cipher = cipher;
  }

  async save({ tenantId, subject }: Principal, finished: FinishedAnswer): Promise<void> {
    const { id, sessionId, question, answer, model, degraded } = finished;
    const [encryptedQuestion, encryptedAnswer] = await Promise.all([
      this.#cipher.encrypt("chat_answers.question", question),
      this.#cipher.encrypt("chat_answers.answer", answer),
    ]);
    await this.#database.asTenant(
      tenantId,
      (client) =>
        client.query(
          `insert into chat_answers (id, session_id, subject, question, answer, model, degraded)
           values ($1, $2, $3, $4, $5, $6, $7) on conflict (id) do nothing`,
          [id, sessionId, subject, encryptedQuestion, encryptedAnswer, model, degraded],
        ),
      { repeatable: true },
    );
  }

  /** @returns whether there is such an answer to a question of this user. */
  async setFeedback({ tenantId, subject }: Principal, id: string, value: 1 | -1): Promise<boolean> {
    return this.#database.asTenant(tenantId, async (client) => {
      const { rowCount } = await client.query(
        "update chat_answers set feedback = $3 where id = $1 and subject = $2",
        [id, subject, value],
      );
      if (rowCount !== 1) {
        return false;
      }
      await audit(client, {
        subject,
        action: "answer.set_feedback",
        target: `answer/${id}`,
        detail: { value },
      });
      return true;
    });
  }
}
