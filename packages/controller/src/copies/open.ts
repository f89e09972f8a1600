import type { BackupStoreConfig } from "../config-store.js";
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
