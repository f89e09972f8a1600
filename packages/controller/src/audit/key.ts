import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { link, readFile, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { BelayError } from "@belay/shared";
import { syncPath, writeSecretly } from "../durable.js";

/** What checkpoints are signed by. `before`: the key that hosts know still, while they are told of its successor. */
export interface AuditKeys {
  readonly key: KeyObject;
  readonly before: KeyObject | null;
}

/**
 * Reads the log's key; makes one where there is none, readable by its owner alone, unless a log is there already, whose key
 * must not be replaced unseen. Beside it, `<file>.old` is the key of before, if it was changed. Throws `audit-key-missing`,
 * `audit-key-invalid`.
 */
export async function openAuditKeys(file: string, logIsThere: boolean): Promise<AuditKeys> {
  const before = await readKey(`${file}.old`);
  const key = await readKey(file);
  if (key !== null) return { key, before };
  if (logIsThere && before === null) {
    throw new BelayError("audit-key-missing", `there is an audit log, but not its key ${file}`, {
      hint: "Put the key back. If it is lost: docs/audit.md says how a new log is begun, with this one kept.",
    });
  }
  return { key: await makeKey(file), before };
}

async function readKey(file: string): Promise<KeyObject | null> {
  try {
    const key = createPrivateKey(await readFile(file));
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch (error) {
    const cause = error as NodeJS.ErrnoException;
    if (cause.code === "ENOENT") return null;
    throw new BelayError("audit-key-invalid", `${file}: ${cause.message}`, { cause });
  }
  throw new BelayError("audit-key-invalid", `${file} is no ed25519 key`, {
    hint: "openssl genpkey -algorithm ed25519 makes one; with no file here belayd makes its own.",
  });
}

async function makeKey(file: string): Promise<KeyObject> {
  const { privateKey } = generateKeyPairSync("ed25519");
  // Under its own name when it is whole: half a key, left by a power cut, would keep belayd from starting. And never in place of
  // another one, as a rename would put it.
  const temp = `${file}.new`;
  await writeSecretly(temp, privateKey.export({ format: "pem", type: "pkcs8" }) as string);
  await link(temp, file);
  await rm(temp);
  await syncPath(dirname(file));
  return privateKey;
}
