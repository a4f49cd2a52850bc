/** A wallet extension as a page meets it (EIP-6963, EIP-1193), whose other half signs in Node with a real key. */
import { createWalletClient, http } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";

/** Starts on chain 1 and does not know the shop's chain. */
export async function newWallet(page, rpcUrl, chainId) {
  const account = privateKeyToAccount(generatePrivateKey());
  const definition = {
    id: chainId,
    name: "shop",
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: [rpcUrl] } },
  };
  const client = createWalletClient({ account, chain: definition, transport: http(rpcUrl) });
  const wallet = { account, rejects: false, added: null, chainId: 1, connected: false, sent: [] };

  const methods = {
    eth_requestAccounts: () => {
      wallet.connected = true;
      return [account.address];
    },
    eth_accounts: () => (wallet.connected ? [account.address] : []),
    eth_chainId: () => `0x${wallet.chainId.toString(16)}`,
    wallet_switchEthereumChain: ([{ chainId: wanted }]) => {
      if (wallet.added?.chainId !== wanted) throw Object.assign(new Error("Unrecognized chain ID"), { code: 4902 });
      wallet.chainId = Number(wanted);
      return null;
    },
    wallet_addEthereumChain: ([added]) => {
      wallet.added = added;
      return null;
    },
    eth_sendTransaction: async ([{ to, data, value }]) => {
      if (wallet.rejects) throw Object.assign(new Error("User rejected the request."), { code: 4001 });
      const hash = await client.sendTransaction({ to, data, value: BigInt(value ?? 0) });
      wallet.sent.push(hash);
      return hash;
    },
  };

  await page.exposeFunction("walletRequest", async (method, params) => {
    try {
      const result = methods[method] ? await methods[method](params ?? []) : await client.request({ method, params });
      return { result };
    } catch (error) {
      return { error: { code: error.code ?? -32603, message: error.message } };
    }
  });
  await page.addInitScript(() => {
    const listeners = {};
    const provider = {
      async request({ method, params }) {
        const before = method.startsWith("wallet_switch") ? (await window.walletRequest("eth_chainId")).result : null;
        const { result, error } = await window.walletRequest(method, params);
        if (error) throw Object.assign(new Error(error.message), { code: error.code });
        if (before !== null)
          for (const listener of listeners.chainChanged ?? [])
            listener((await window.walletRequest("eth_chainId")).result);
        return result;
      },
      on: (event, listener) => (listeners[event] ??= []).push(listener),
      removeListener: (event, listener) =>
        (listeners[event] = (listeners[event] ?? []).filter((each) => each !== listener)),
    };
    const icon =
      "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'><circle cx='4' cy='4' r='4' fill='teal'/></svg>";
    const info = {
      uuid: "9c0f7a9e-0c0e-4b36-8f3c-6f1c0c7a1b52",
      name: "Test wallet",
      icon,
      rdns: "test.gristmill.wallet",
    };
    const announce = () =>
      window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info, provider }) }));
    window.addEventListener("eip6963:requestProvider", announce);
    announce();
  });
  return wallet;
}
