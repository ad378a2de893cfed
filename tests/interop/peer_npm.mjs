// A peer: jose from npm (panva). One JSON request a line, one JSON answer a line:
// {"result": base64} or {"refused": reason}. The argument is the package's folder.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const jose = createRequire(import.meta.url)(process.argv[2]);

function protect(builder, header) {
  return builder.setProtectedHeader({ cty: "text/plain", ...header });
}

async function answer({ command, jwk, alg, enc, form, input }) {
  const key = await jose.importJWK(jwk, alg);
  const octets = Buffer.from(input, "base64");
  const text = octets.toString();
  const compact = command === "sign" || command === "encrypt" ? form === "compact" : text[0] !== "{";
  switch (command) {
    case "sign": {
      const Make = compact ? jose.CompactSign : jose.FlattenedSign;
      return protect(new Make(octets), { alg }).sign(key);
    }
    case "encrypt": {
      const Make = compact ? jose.CompactEncrypt : jose.FlattenedEncrypt;
      return protect(new Make(octets), { alg, enc }).encrypt(key);
    }
    case "verify": {
      const options = { algorithms: [alg] };
      return (await (compact ? jose.compactVerify(text, key, options)
                             : jose.flattenedVerify(JSON.parse(text), key, options))).payload;
    }
    case "decrypt": {
      const options = { keyManagementAlgorithms: [alg], contentEncryptionAlgorithms: [enc] };
      return (await (compact ? jose.compactDecrypt(text, key, options)
                             : jose.flattenedDecrypt(JSON.parse(text), key, options))).plaintext;
    }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let said;
  try {
    let made = await answer(JSON.parse(line));
    if (!(made instanceof Uint8Array) && typeof made !== "string") made = JSON.stringify(made);
    said = { result: Buffer.from(made).toString("base64") };
  } catch (error) {
    said = { refused: `${error.code ?? error.name}: ${error.message}` };
  }
  process.stdout.write(JSON.stringify(said) + "\n");
}
