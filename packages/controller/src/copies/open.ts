import type { BackupStoreConfig } from "../config-store.js";
import type { CopyRecords } from "../store/copies.js";
import { Copies } from "./copies.js";
import { readCredentials } from "./credentials.js";
import { FolderStore } from "./folder.js";
import type { CopyStore } from "./store.js";

/** The store that belayd.yaml asks for. Throws as `readCredentials`; asks nobody else, so a storage may be down now. */
export async function openCopyStore(config: BackupStoreConfig): Promise<CopyStore> {
  if (config.kind === "folder") return new FolderStore(config.dir, config.minFreeBytes);
  // The client is large; a belayd that keeps copies in a folder never loads it.
  const { S3Store } = await import("./s3.js");
  return new S3Store(config, await readCredentials(config.credentialsFile));
}

/** The copies in that store, rid of what a crash left half written. Throws as `openCopyStore`. */
export async function openCopies(config: BackupStoreConfig, records: CopyRecords, now: () => number): Promise<Copies> {
  const store = await openCopyStore(config);
  await store.sweep();
  return new Copies({ store, records, maxBytes: config.maxBytes, now });
}
