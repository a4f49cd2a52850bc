// What a page does with viem: read, estimate, send, wait, decode. Arguments: node_modules folder, RPC URL, private key.
const [modules, url, key] = process.argv.slice(2);
const load = (name) => require(require.resolve(name, { paths: [modules] }));
const { createPublicClient, createWalletClient, defineChain, http, parseEther, BaseError, ContractFunctionRevertedError } =
  load("viem");
const { privateKeyToAccount } = load("viem/accounts");
const fs = require("node:fs");
const path = require("node:path");

const artifact = JSON.parse(fs.readFileSync(path.join(__dirname, "../../../../contracts/artifacts/DevRLC.json"), "utf8"));
const bytecode = artifact.bytecode.object ?? artifact.bytecode;

function check(condition, what) {
  if (!condition) throw new Error(what);
}

async function main() {
  const account = privateKeyToAccount(key);
  const transport = http(url);
  const id = await createPublicClient({ transport }).getChainId();
  const chain = defineChain({
    id,
    name: "gristmill",
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: [url] } },
  });
  const reader = createPublicClient({ chain, transport, pollingInterval: 20 });
  const wallet = createWalletClient({ account, chain, transport });

  const deployed = await wallet.deployContract({ abi: artifact.abi, bytecode, args: [account.address] });
  const { contractAddress: address } = await reader.waitForTransactionReceipt({ hash: deployed });
  const token = { address, abi: artifact.abi };
  const to = "0x00000000000000000000000000000000000000aa";

  const events = [];
  const stop = reader.watchContractEvent({ ...token, eventName: "Transfer", onLogs: (logs) => events.push(...logs) });
  const sent = await wallet.writeContract({ ...token, functionName: "transfer", args: [to, 5n] });
  const receipt = await reader.waitForTransactionReceipt({ hash: sent });
  check(receipt.status === "success", "the transfer succeeded");
  check((await reader.readContract({ ...token, functionName: "balanceOf", args: [to] })) === 5n, "the tokens arrived");
  const logs = await reader.getContractEvents({ ...token, eventName: "Transfer", fromBlock: 0n });
  check(logs.at(-1).args.value === 5n, "the event can be read");
  for (let i = 0; i < 500 && events.length === 0; i++) await new Promise((done) => setTimeout(done, 20));
  stop();
  check(events[0]?.transactionHash === sent, "the event was seen by watching");

  const failure = await wallet
    .writeContract({ ...token, functionName: "transferFrom", args: [to, account.address, 6n] })
    .then(() => undefined, (error) => error);
  check(failure instanceof BaseError, "a refused call is an error");
  const reverted = failure.walk((error) => error instanceof ContractFunctionRevertedError);
  check(reverted?.data?.errorName === "ERC20InsufficientAllowance", `the contract's error is known: ${failure}`);

  const paid = await wallet.sendTransaction({ to, value: parseEther("1") });
  const block = await reader.getBlock({ blockHash: (await reader.waitForTransactionReceipt({ hash: paid })).blockHash });
  check(block.transactions.includes(paid), "the block has the transaction");
  check((await reader.getBalance({ address: to })) === parseEther("1"), "the ether arrived");
  const poor = await wallet.sendTransaction({ to, value: parseEther("1000000") }).then(() => "", (error) => error.name + error);
  check(/exceeds the balance|insufficient funds/i.test(poor), `the error names the reason: ${poor}`);
  const old = await wallet.sendTransaction({ to, nonce: 0 }).then(() => "", String);
  check(/lower than the current nonce/i.test(old), `the error names the reason: ${old}`);
}

main().then(
  () => console.log("ok"),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
