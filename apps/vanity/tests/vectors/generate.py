#!/usr/bin/env python3
"""Writes vectors.json with arithmetic that shares nothing with the Rust code.

Everything but SHA-256 is written out here: curve, RIPEMD-160, Keccak-256, Base58, bech32, and the sets of hashes that
a prefix stands for. Run it again after a change: `python3 generate.py > vectors.json`.
"""

import hashlib
import json
import random
from fractions import Fraction

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
     0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8)
LAMBDA = 0x5363AD4CC05C30E0A5261C028812645A122E22EA20816678DF02967C1B23BD72
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def multiply(k, point=G):
    total = None
    while k:
        if k & 1:
            total = add(total, point)
        point = add(point, point)
        k >>= 1
    return total


def compressed(point):
    return bytes([2 + (point[1] & 1)]) + point[0].to_bytes(32, "big")


def ripemd160(message):
    def rotate(x, n):
        return (x << n | x >> (32 - n)) & 0xFFFFFFFF

    functions = [
        lambda x, y, z: x ^ y ^ z,
        lambda x, y, z: (x & y) | (~x & z),
        lambda x, y, z: (x | ~y) ^ z,
        lambda x, y, z: (x & z) | (y & ~z),
        lambda x, y, z: x ^ (y | ~z),
    ]
    k_left = [0, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E]
    k_right = [0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0]
    permutation = [7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8]
    left = [list(range(16))]
    right = [[(9 * i + 5) % 16 for i in range(16)]]
    for _ in range(4):
        left.append([permutation[i] for i in left[-1]])
        right.append([permutation[i] for i in right[-1]])
    shifts = [
        [11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8],
        [12, 13, 11, 15, 6, 9, 9, 7, 12, 15, 11, 13, 7, 8, 7, 7],
        [13, 15, 14, 11, 7, 7, 6, 8, 13, 14, 13, 12, 5, 5, 6, 9],
        [14, 11, 12, 14, 8, 6, 5, 5, 15, 12, 15, 14, 9, 9, 8, 6],
        [15, 12, 13, 13, 9, 5, 8, 6, 14, 11, 12, 11, 8, 6, 5, 5],
    ]
    padded = message + b"\x80" + b"\0" * ((55 - len(message)) % 64) + (8 * len(message)).to_bytes(8, "little")
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0]
    for start in range(0, len(padded), 64):
        block = [int.from_bytes(padded[start + 4 * i:start + 4 * i + 4], "little") for i in range(16)]

        def line(order, constants, which):
            a, b, c, d, e = state
            for r in range(5):
                for word in order[r]:
                    total = a + which(r)(b, c, d) + block[word] + constants[r]
                    t = (rotate(total & 0xFFFFFFFF, shifts[r][word]) + e) & 0xFFFFFFFF
                    a, e, d, c, b = e, d, rotate(c, 10), b, t
            return a, b, c, d, e

        l = line(left, k_left, lambda r: functions[r])
        r = line(right, k_right, lambda r: functions[4 - r])
        state = [(state[(i + 1) % 5] + l[(i + 2) % 5] + r[(i + 3) % 5]) & 0xFFFFFFFF for i in range(5)]
    return b"".join(word.to_bytes(4, "little") for word in state)


def keccak256(message):
    mask = 2**64 - 1
    rotate = lambda x, n: (x << n | x >> (64 - n)) & mask if n else x
    padded = bytearray(message) + b"\x01"
    padded += b"\0" * (-len(padded) % 136)
    padded[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for start in range(0, len(padded), 136):
        for i in range(17):
            lanes[i % 5][i // 5] ^= int.from_bytes(padded[start + 8 * i:start + 8 * i + 8], "little")
        register = 1
        for _ in range(24):
            c = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
            d = [c[(x + 4) % 5] ^ rotate(c[(x + 1) % 5], 1) for x in range(5)]
            lanes = [[lanes[x][y] ^ d[x] for y in range(5)] for x in range(5)]
            x, y, current = 1, 0, lanes[1][0]
            for t in range(24):
                x, y = y, (2 * x + 3 * y) % 5
                current, lanes[x][y] = lanes[x][y], rotate(current, (t + 1) * (t + 2) // 2 % 64)
            for y in range(5):
                row = [lanes[x][y] for x in range(5)]
                for x in range(5):
                    lanes[x][y] = row[x] ^ (~row[(x + 1) % 5] & mask & row[(x + 2) % 5])
            for j in range(7):
                register = (register << 1 ^ (register >> 7) * 0x71) % 256
                if register & 2:
                    lanes[0][0] ^= 1 << ((1 << j) - 1)
    return b"".join(lanes[i % 5][i // 5].to_bytes(8, "little") for i in range(4))


def sha256(message):
    return hashlib.sha256(message).digest()


def hash160(message):
    return ripemd160(sha256(message))


def base58check(payload):
    data = payload + sha256(sha256(payload))[:4]
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def bech32(program):
    bits = "".join(f"{byte:08b}" for byte in program)
    symbols = [0] + [int(bits[i:i + 5], 2) for i in range(0, 160, 5)]

    def polymod(values):
        check = 1
        for value in values:
            top = check >> 25
            check = (check & 0x1FFFFFF) << 5 ^ value
            for i, generator in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
                check ^= generator if top >> i & 1 else 0
        return check

    check = polymod([3, 3, 0, 2, 3] + symbols + [0] * 6) ^ 1
    symbols += [check >> 5 * (5 - i) & 31 for i in range(6)]
    return "bc1" + "".join(BECH32[symbol] for symbol in symbols)


def ethereum(point):
    text = keccak256(point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big"))[12:].hex()
    digest = keccak256(text.encode()).hex()
    return "0x" + "".join(c.upper() if int(d, 16) >= 8 else c for c, d in zip(text, digest))


def key_vector(key):
    point = multiply(key)
    key_hash = hash160(compressed(point))
    return {
        "secret": f"{key:064x}",
        "wif": base58check(b"\x80" + key.to_bytes(32, "big") + b"\x01"),
        "public_key": compressed(point).hex(),
        "hash160": key_hash.hex(),
        "p2pkh": base58check(b"\0" + key_hash),
        "p2wpkh": bech32(key_hash),
        "p2sh_p2wpkh": base58check(b"\x05" + hash160(b"\0\x14" + key_hash)),
        "ethereum": ethereum(point),
    }


def split_vector(secret, order, worker, index, image):
    base = int.from_bytes(keccak256(order + worker), "big") % N
    offset = (base + index) % N
    requester, found = multiply(secret), multiply((secret + offset) % N)
    key = (secret + offset) * pow(LAMBDA, image // 2, N) % N
    if multiply(key)[1] & 1 != image & 1:
        key = N - key
    point = multiply(key)
    return {
        "secret": f"{secret:064x}", "order": order.hex(), "worker": worker.hex(), "index": str(index), "image": image,
        "public_key": compressed(requester).hex(), "offset": f"{offset:064x}", "key": f"{key:064x}",
        "hash160": hash160(compressed(point)).hex(),
        "solution": (worker + index.to_bytes(8, "big") + bytes([image]) + found[0].to_bytes(32, "big")
                     + found[1].to_bytes(32, "big")).hex(),
    }


def address_of(number, version):
    """The text of a 25-byte number, checksum not looked at."""
    data, text = number.to_bytes(25, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" * (25 - len(data.lstrip(b"\0"))) + text


def count_of_prefix(prefix, version):
    """How many 192-bit numbers hash ‖ checksum show the prefix.

    Order by (leading ones, length, text) is order by number, so the numbers of one length and number of ones that
    show the prefix are one interval, found here by bisection on the written address alone.
    """
    low, end = version << 192, version + 1 << 192
    total = 0
    bounds = {low, end}
    bounds |= {58**i for i in range(36) if low < 58**i < end}
    bounds |= {256**i for i in range(26) if low < 256**i < end}
    edges = sorted(bounds)
    for start, stop in zip(edges, edges[1:]):
        def first_at_least(text):
            a, b = start, stop
            while a < b:
                middle = (a + b) // 2
                shown = [BASE58.index(c) for c in address_of(middle, version)][:len(text)]
                if shown < text:
                    a = middle + 1
                else:
                    b = middle
            return a
        digits = [BASE58.index(c) for c in prefix]
        if len(address_of(start, version)) < len(digits):
            continue
        total += first_at_least(digits[:-1] + [digits[-1] + 1]) - first_at_least(digits)
    return total


def prefixes():
    random.seed(20260101)
    fixed = ["1", "11", "111", "1LoVE", "1QLbz", "1RTest", "1Bitcoin", "12", "16", "17", "1P", "1Q", "1R", "1z", "1QLb",
             "1QLc", "1111111111", "112", "11z", "3", "31", "32", "3Q", "3R", "3P2SH"]
    for _ in range(150):
        fixed.append("1" + "".join(random.choice(BASE58) for _ in range(random.randint(1, 9))))
    for _ in range(40):
        fixed.append("3" + random.choice("23456789ABCDEFGHJKLMNPQ") + "".join(random.choice(BASE58) for _ in range(random.randint(0, 6))))
    return fixed


def main():
    random.seed(1)
    keys = [1, 2, 3, N - 1, N - 2, LAMBDA, N - LAMBDA, LAMBDA * LAMBDA % N] + [random.randrange(1, N) for _ in range(24)]
    splits = []
    for number in range(36):
        index = [0, 1, 2**64 - 1, random.randrange(2**64)][number % 4]
        order = bytes(random.randrange(256) for _ in range(32))
        worker = bytes(random.randrange(256) for _ in range(20))
        splits.append(split_vector(random.randrange(1, N), order, worker, index, number % 6))
    counts = [{"prefix": prefix, "numbers": str(count_of_prefix(prefix, 0 if prefix[0] == "1" else 5))} for prefix in prefixes()]
    assert Fraction(2**192, int(counts[3]["numbers"])) > 4476342
    print(json.dumps({"keys": [key_vector(key) for key in keys], "splits": splits, "prefixes": counts}, indent=1))


if __name__ == "__main__":
    main()
