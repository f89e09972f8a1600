import { execFileSync, spawnSync } from "node:child_process";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type AllowedSigner,
  armor,
  BelayError,
  parseAllowedSigners,
  parsePrivateKey,
  parsePublicKey,
  parseSignature,
  signedBytes,
  signerOf,
  signMessage,
  sshMpint,
  sshString,
  sshUint32,
  verifySignature,
} from "@belay/shared";
import fc from "fast-check";
import t, { type Test } from "tap";

const SPACE = "belay-gate";
const MESSAGE = '{"decision":"approve","gate":"hop-1.main.auth"}';
const KINDS = [
  ["ed25519", ""],
  ["ecdsa", "256"],
  ["ecdsa", "384"],
  ["ecdsa", "521"],
  ["rsa", "2048"],
  ["rsa", "3072"],
] as const;

function newKey(t: Test, kind: string, bits: string, passphrase = ""): string {
  const file = join(t.testdir(), "key");
  execFileSync("ssh-keygen", [
    "-q",
    "-t",
    kind,
    ...(bits === "" ? [] : ["-b", bits]),
    "-N",
    passphrase,
    "-C",
    "maria@example.com",
    "-f",
    file,
  ]);
  return file;
}

function signedByKeygen(key: string, namespace = SPACE, message = MESSAGE, options: string[] = []): string {
  const args = ["-Y", "sign", "-n", namespace, ...options, "-f", key];
  return execFileSync("ssh-keygen", args, { input: message, encoding: "utf8", stdio: "pipe" });
}

/** Does the real ssh-keygen take it as maria's? */
function takenByKeygen(folder: string, publicKey: string, signature: string, message = MESSAGE): boolean {
  const [signers, file] = [join(folder, "signers"), join(folder, "sig")];
  writeFileSync(signers, `maria@example.com ${publicKey}\n`);
  writeFileSync(file, signature);
  const args = ["-Y", "verify", "-n", SPACE, "-f", signers, "-I", "maria@example.com", "-s", file];
  return spawnSync("ssh-keygen", args, { input: message }).status === 0;
}

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof BelayError) return error.code;
    throw error;
  }
  return "none";
};

for (const [kind, bits] of KINDS) {
  t.test(
    `${kind} ${bits}: what ssh-keygen signs is verified here, and what is signed here by ssh-keygen`,
    async (t) => {
      const file = newKey(t, kind, bits);
      const text = readFileSync(`${file}.pub`, "utf8");
      const theirs = signedByKeygen(file);
      const key = verifySignature(MESSAGE, theirs, SPACE);
      const shown = execFileSync("ssh-keygen", ["-l", "-f", `${file}.pub`], { encoding: "utf8" });
      t.match(shown, key.fingerprint);
      t.equal(armor(parseSignature(theirs)), theirs, "and the armor is the same to the byte");

      const ours = signMessage(MESSAGE, parsePrivateKey(readFileSync(file, "utf8")), SPACE);
      t.ok(verifySignature(MESSAGE, ours, SPACE).blob.equals(key.blob));
      t.ok(takenByKeygen(t.testdirName, text, ours));
      t.notOk(takenByKeygen(t.testdirName, text, ours, `${MESSAGE} `), "the check that ssh-keygen makes can fail");

      t.equal(
        codeOf(() => verifySignature(MESSAGE, signedByKeygen(file, "file"), SPACE)),
        "signature-invalid",
      );
      t.equal(
        codeOf(() => verifySignature(`${MESSAGE} `, theirs, SPACE)),
        "signature-invalid",
      );
      t.ok(verifySignature(MESSAGE, signedByKeygen(file, SPACE, MESSAGE, ["-O", "hashalg=sha256"]), SPACE));
    },
  );

  t.test(`${kind} ${bits}: no byte of a signature can be changed`, async () => {
    const file = newKey(t, kind, bits);
    const whole = parseSignature(signedByKeygen(file));
    const body = Buffer.from(armor(whole).split("\n").slice(1, -2).join(""), "base64");
    fc.assert(
      fc.property(fc.nat(body.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const altered = Buffer.from(body);
        altered[at] = (altered[at] ?? 0) ^ change;
        const text = altered.toString("base64").match(/.{1,70}/g) ?? [];
        const armored = ["-----BEGIN SSH SIGNATURE-----", ...text, "-----END SSH SIGNATURE-----", ""].join("\n");
        try {
          verifySignature(MESSAGE, armored, SPACE);
          return false;
        } catch (error) {
          return error instanceof BelayError;
        }
      }),
      { numRuns: 400 },
    );
  });
}

/** What a hardware key would make, by a key in memory: nobody has one plugged in while tests run. */
function hardware(kind: "ed25519" | "ecdsa", { flags = 1, application = "ssh:" } = {}) {
  const digest = (bytes: string | Buffer) => createHash("sha256").update(bytes).digest();
  const pair = kind === "ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = pair.publicKey.export({ format: "jwk" });
  const type = kind === "ed25519" ? "sk-ssh-ed25519@openssh.com" : "sk-ecdsa-sha2-nistp256@openssh.com";
  const [x, y] = [jwk.x, jwk.y].map((part) => Buffer.from(part ?? "", "base64url")) as [Buffer, Buffer];
  const point =
    kind === "ed25519" ? [sshString(x)] : [sshString("nistp256"), sshString(Buffer.concat([Buffer.from([4]), x, y]))];
  const blob = Buffer.concat([sshString(type), ...point, sshString(application)]);
  const data = signedBytes(MESSAGE, SPACE, "sha512");
  const extra = Buffer.concat([Buffer.from([flags]), sshUint32(7)]);
  const signed = Buffer.concat([digest(application), extra, digest(data)]);
  const made =
    kind === "ed25519"
      ? sign(null, signed, pair.privateKey)
      : sign("sha256", signed, { key: pair.privateKey, dsaEncoding: "ieee-p1363" });
  const inner =
    kind === "ed25519" ? made : Buffer.concat([sshMpint(made.subarray(0, 32)), sshMpint(made.subarray(32))]);
  const signature = Buffer.concat([sshString(type), sshString(inner), extra]);
  const text = armor({ key: parsePublicKey(blob), namespace: SPACE, hash: "sha512", signature });
  return { text, blob, line: `${type} ${blob.toString("base64")}` };
}

for (const kind of ["ed25519", "ecdsa"] as const) {
  t.test(`a hardware key's ${kind} signature is taken, here and by ssh-keygen, when somebody touched it`, async (t) => {
    const { text, blob, line } = hardware(kind);
    t.ok(verifySignature(MESSAGE, text, SPACE).blob.equals(blob));
    t.ok(takenByKeygen(t.testdir(), line, text), "ssh-keygen agrees");
    t.equal(
      codeOf(() => verifySignature(MESSAGE, hardware(kind, { flags: 0 }).text, SPACE)),
      "signature-invalid",
      "nobody touched it",
    );
  });
}

t.test("weak keys and weak digests are refused", async (t) => {
  const small = newKey(t, "rsa", "1024");
  t.equal(
    codeOf(() => verifySignature(MESSAGE, signedByKeygen(small), SPACE)),
    "ssh-key-refused",
  );
  const file = newKey(t, "rsa", "2048");
  const { key, namespace, hash, signature } = parseSignature(signedByKeygen(file));
  const sha1 = Buffer.concat([sshString("ssh-rsa"), signature.subarray(4 + "rsa-sha2-512".length)]);
  t.equal(
    codeOf(() => verifySignature(MESSAGE, armor({ key, namespace, hash, signature: sha1 }), SPACE)),
    "signature-invalid",
    "SHA-1",
  );
});

t.test("what is no signature is refused as such", async (t) => {
  const good = signedByKeygen(newKey(t, "ed25519", ""));
  const begin = "-----BEGIN SSH SIGNATURE-----\n";
  for (const text of [
    "",
    "x",
    begin,
    good.replace("SSH", "PGP"),
    good.replace(/\n([A-Za-z0-9])/, "\n=$1"),
    `${good}x`,
  ]) {
    t.equal(
      codeOf(() => verifySignature(MESSAGE, text, SPACE)),
      "ssh-malformed",
    );
  }
  t.equal(
    codeOf(() => parseSignature("A".repeat(10_000))),
    "ssh-malformed",
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const body = Buffer.concat([Buffer.from("SSHSIG"), Buffer.from(bytes)]).toString("base64");
      const code = codeOf(() => parseSignature(`${begin}${body}\n-----END SSH SIGNATURE-----\n`));
      return code === "ssh-malformed" || code === "ssh-key-refused";
    }),
  );
});

t.test("a key with a passphrase is left to ssh-keygen", async (t) => {
  const file = newKey(t, "ed25519", "", "a long one");
  t.equal(
    codeOf(() => parsePrivateKey(readFileSync(file, "utf8"))),
    "ssh-key-encrypted",
  );
  t.equal(
    codeOf(() => parsePrivateKey("-----BEGIN RSA PRIVATE KEY-----\n")),
    "ssh-key-refused",
  );
});

t.test("allowed_signers says whose a key is, for what and when", async (t) => {
  const file = newKey(t, "ed25519", "");
  const [kind, key] = readFileSync(`${file}.pub`, "utf8").split(" ") as [string, string];
  const parsed = parsePublicKey(Buffer.from(key, "base64"));
  const at = Date.UTC(2026, 10, 24, 12);
  const read = (options: string) =>
    parseAllowedSigners(`# people\n\n maria@example.com ${options} ${kind} ${key} a comment\n`, "f");
  const who = (signers: AllowedSigner[], when = at) => signerOf(signers, parsed, SPACE, when);

  t.same(who(read("")), { signer: "maria@example.com" });
  t.same(who(read('namespaces="file,belay-*"')), { signer: "maria@example.com" });
  t.same(who(read('namespaces="file"')), { refused: "namespace" });
  t.same(who(read('valid-after="20261124",valid-before="20261125Z"')), { signer: "maria@example.com" });
  t.same(who(read('valid-after="202611241300Z"')), { refused: "time" });
  t.same(who(read("valid-before=20261124120000Z")), { refused: "time" }, "not at the very end");
  t.same(who(read("valid-before=20261124120000Z"), at - 1), { signer: "maria@example.com" });
  t.same(who([]), { refused: "unknown" });
  const quoted = parseAllowedSigners(`"maria@example.com,maria" ${kind} ${key}\n`, "f");
  t.same(who(quoted), { signer: "maria,maria@example.com" });

  for (const line of [
    `* cert-authority ${kind} ${key}`,
    `maria verify-required ${kind} ${key}`,
    `maria valid-after="soon" ${kind} ${key}`,
    `maria valid-after="20261324" ${kind} ${key}`,
    `maria ssh-rsa ${key}`,
    `maria ${kind} ${key.slice(0, -8)}`,
    `maria ${kind}`,
    `${kind} ${key}`,
    "maria",
  ]) {
    t.equal(
      codeOf(() => parseAllowedSigners(line, "f")),
      "signers-invalid",
      line.slice(0, 40),
    );
  }
});

t.test("nobody is there as two people", async (t) => {
  const keys = ["ed25519", "ecdsa", "rsa"].map((kind) =>
    readFileSync(`${newKey(t, kind, "")}.pub`, "utf8")
      .split(" ")
      .slice(0, 2)
      .join(" "),
  );
  const read = (...principals: string[]) =>
    parseAllowedSigners(principals.map((each, at) => `${each} ${keys[at]}`).join("\n"), "f").map(
      ({ signer }) => signer,
    );
  t.same(read("maria", "Maria", "tom"), ["maria", "maria", "tom"], "capitals make no second person");
  t.same(read("maria,m@x", "M@x,maria"), ["m@x,maria", "m@x,maria"], "nor does the order");
  for (const principals of [
    ["maria,m@x", "maria"],
    ["maria", "tom", "tom,MARIA"],
    ["*"],
    ["m?ria"],
    ["maria,!tom"],
    ["maria,"],
  ]) {
    t.equal(
      codeOf(() => read(...principals)),
      "signers-invalid",
      principals.join(" "),
    );
  }
  t.equal(
    codeOf(() => parseAllowedSigners(`maria ${keys[0]}\ntom ${keys[0]}\n`, "f")),
    "signers-invalid",
    "one key, two names",
  );
});
