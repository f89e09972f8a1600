import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** PEM files of one server and of the authority that vouches for it. */
export interface Certificate {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

const DAYS = "30";
const EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"];

/**
 * Makes an authority and a server's certificate in the folder `dir`. `names` are `IP:127.0.0.1` or `DNS:belay.internal`,
 * `uses` what openssl calls the ends of a connection.
 */
export async function makeCertificate(
  dir: string,
  names: readonly string[],
  uses: readonly string[] = ["serverAuth"],
): Promise<Certificate> {
  const at = (name: string) => join(dir, name);
  await openssl("req", "-x509", ...EC, "-days", DAYS, "-subj", "/CN=Belay test authority", ...out(at("ca")));
  await openssl("req", ...EC, "-subj", "/CN=belayd", "-keyout", at("server.key"), "-out", at("server.csr"));
  await writeFile(at("server.ext"), `subjectAltName=${names.join(",")}\nextendedKeyUsage=${uses.join(",")}\n`);
  const signer = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-extfile", at("server.ext")];
  await openssl("x509", "-req", "-in", at("server.csr"), ...signer, "-days", DAYS, "-out", at("server.pem"));
  return { ca: at("ca.pem"), certificate: at("server.pem"), key: at("server.key") };
}

function out(path: string): string[] {
  return ["-keyout", `${path}.key`, "-out", `${path}.pem`];
}

async function openssl(...args: string[]): Promise<void> {
  await run("openssl", args);
}
