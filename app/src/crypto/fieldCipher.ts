import { CompactEncrypt, compactDecrypt } from "jose";
import type { KeyStore } from "../auth/keyStore.ts";

/** Every column whose content only the app can read, as `table.column`. Re-keying goes through this list. */
export const encryptedColumns = [
  "users.email",
  "chat_answers.question",
  "chat_answers.answer",
  "jobs.sealed_payload",
  "jobs.sealed_result",
] as const;
export type EncryptedColumn = (typeof encryptedColumns)[number];

const keyManagement = "dir";
const contentEncryption = "A256GCM";

/**
 * Encrypts single columns: JWE compact serialisation (RFC 7516) under the active key of a key file whose keys have 32
 * bytes. The key's id is in the header, so that values under older keys can be read for as long as the file has them;
 * so is the column, so that a value copied into another column is refused.
 */
export class FieldCipher {
  readonly #keys: KeyStore;

  constructor(keys: KeyStore) {
    this.#keys = keys;
  }

  /** The id of the key that encrypts. @throws as `encrypt`. */
  async activeKey(): Promise<string> {
    return (await this.#keys.current()).active;
  }

  /** @throws Unavailable while there is no usable key file. */
  async encrypt(column: EncryptedColumn, plaintext: string): Promise<string> {
    const { active, keys } = await this.#keys.current();
    return new CompactEncrypt(Buffer.from(plaintext, "utf8"))
      .setProtectedHeader({ alg: keyManagement, enc: contentEncryption, kid: active, column })
      .encrypt(keyOf(keys, active));
  }

  /** @throws when the value was altered, is of another column, or its key is no longer in the file. */
  async decrypt(column: EncryptedColumn, value: string): Promise<string> {
    const { keys } = await this.#keys.current();
    const { plaintext, protectedHeader } = await compactDecrypt(value, ({ kid }) => keyOf(keys, kid), {
      keyManagementAlgorithms: [keyManagement],
      contentEncryptionAlgorithms: [contentEncryption],
    });
    if (protectedHeader["column"] !== column) {
      throw new Error(`the value is not one of ${column}`);
    }
    return Buffer.from(plaintext).toString("utf8");
  }
}

function keyOf(keys: ReadonlyMap<string, Uint8Array>, id: string | undefined): Uint8Array {
  const key = id === undefined ? undefined : keys.get(id);
  if (!key) {
    throw new Error(`no key ${String(id)} in the key file`);
  }
  return key;
}
