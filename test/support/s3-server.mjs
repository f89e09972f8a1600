import S3rver from "@20minutes/s3rver";

// An S3 server on disk: `node s3-server.mjs DIR BUCKET [PORT]`, else on a free port. Says where it listens, and serves until it is killed.
const [directory, bucket, port = "0"] = process.argv.slice(2);
const server = new S3rver({
  directory,
  address: "127.0.0.1",
  port: Number(port),
  silent: true,
  vhostBuckets: false,
  configureBuckets: [{ name: bucket, configs: [] }],
});
const { port: listening } = await server.run();
process.stdout.write(`http://127.0.0.1:${listening}\n`);
