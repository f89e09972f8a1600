import { Readable } from "node:stream";
import { DeleteObjectCommand, GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { BelayError } from "@belay/shared";
import type { Credentials } from "./credentials.js";
import type { CopyStore } from "./store.js";

export interface S3Place {
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  /** Keys begin with it; empty, or ending in a slash. */
  readonly prefix: string;
  /** `https://endpoint/bucket/key` in place of `https://bucket.endpoint/key`: what most others than AWS want. */
  readonly pathStyle: boolean;
}

/** S3 allows 10,000 parts: this many bytes each makes 160 GB, and two of them are what an upload holds in memory. */
const PART_BYTES = 16 * 1024 * 1024;
const PARTS_AT_ONCE = 2;
const CONNECT_TIMEOUT_MS = 5_000;
/** Silence on an open connection. */
const SILENCE_TIMEOUT_MS = 60_000;
/** Of one request (a part), with the client's own growing pauses in between. */
const ATTEMPTS = 4;

/** Copies as objects in S3-compatible storage, in parts, so that memory stays bounded whatever the size. */
export class S3Store implements CopyStore {
  readonly #client: S3Client;
  readonly #where: S3Place;

  /** `silenceMs`: how long an open connection may be silent; an attempt ends by it. */
  constructor(where: S3Place, credentials: Credentials, silenceMs = SILENCE_TIMEOUT_MS) {
    this.#where = where;
    this.#client = new S3Client({
      endpoint: where.endpoint,
      region: where.region,
      forcePathStyle: where.pathStyle,
      credentials: { ...credentials },
      maxAttempts: ATTEMPTS,
      // Its `requestTimeout` is for whole requests, and only a line in a log.
      requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS, socketTimeout: silenceMs },
      // Many compatible servers know none of the newer checksum headers; every copy is checked by SHA-256 anyway.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
    });
  }

  get place(): string {
    return `bucket ${this.#where.bucket} at ${this.#where.endpoint}`;
  }

  /** Nothing to do: parts of cut-off uploads are invisible, and a rule of the bucket removes them (docs/configuration.md). */
  async sweep(): Promise<void> {}

  async put(key: string, body: Readable): Promise<void> {
    // What the body itself throws (a copy that is too large, a sender that hung up) is not the storage's fault.
    let sender: unknown;
    body.once("error", (error) => {
      sender = error;
    });
    const upload = new Upload({
      client: this.#client,
      params: { ...this.#at(key), Body: body, ContentType: "application/octet-stream" },
      partSize: PART_BYTES,
      queueSize: PARTS_AT_ONCE,
      leavePartsOnError: false,
    });
    try {
      await upload.done();
    } catch (error) {
      throw sender ?? this.#failure(error);
    } finally {
      body.destroy();
    }
  }

  async get(key: string): Promise<Readable | null> {
    try {
      const { Body } = await this.#client.send(new GetObjectCommand(this.#at(key)));
      return Body instanceof Readable ? Body : null;
    } catch (error) {
      if ((error as Error).name === "NoSuchKey") return null;
      throw this.#failure(error);
    }
  }

  async remove(key: string): Promise<void> {
    try {
      await this.#client.send(new DeleteObjectCommand(this.#at(key)));
    } catch (error) {
      if ((error as Error).name !== "NoSuchKey") throw this.#failure(error);
    }
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#where.bucket, Key: `${this.#where.prefix}${key}` };
  }

  /** Only the name and status of what the client throws: its requests carry signatures. */
  #failure(error: unknown): BelayError {
    const { name, code, $metadata } = error as Error & { code?: string; $metadata?: { httpStatusCode?: number } };
    const status = $metadata?.httpStatusCode;
    const context = { place: this.place, error: code ?? name, ...(status === undefined ? {} : { status }) };
    if (status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 429) {
      return new BelayError("copy-store-refused", `${this.place} refuses: ${name}`, {
        hint: "Look at backupStore in belayd.yaml: the bucket, the key, and what that key may do there.",
        context,
      });
    }
    if (name === "QuotaExceeded" || name === "XMinioStorageFull" || status === 507) {
      return new BelayError("copy-store-full", `${this.place} has no room left`, {
        hint: "Make room there, or keep fewer copies (backups.keep, backups.maxAge in fleet.yaml).",
        context,
      });
    }
    return new BelayError("copy-store-unreachable", `${this.place} does not answer: ${code ?? name}`, {
      hint: "Is it up, and is backupStore.endpoint in belayd.yaml right?",
      context,
    });
  }
}
