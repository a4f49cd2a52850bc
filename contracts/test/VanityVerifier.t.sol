// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {EthereumVanityVerifier} from "../src/EthereumVanityVerifier.sol";
import {PreimageVerifier} from "../src/PreimageVerifier.sol";
import {VanityVerifier} from "../src/VanityVerifier.sol";
import {IVerifier} from "../src/interfaces/IVerifier.sol";
import {Vm} from "./Base.sol";
import {VanitySearch} from "./VanitySearch.sol";

contract VanityVerifierTest is VanitySearch {
    /// @dev One hit, wanted by exactly its own hash.
    struct Hit {
        bytes32 order;
        address worker;
        uint256 secret;
        uint64 index;
        uint8 image;
        uint160 hash;
        bytes params;
        bytes result;
    }

    VanityVerifier private verifier = new VanityVerifier();

    function test_verify_acceptsVectorsOfAnIndependentImplementation() public view {
        acceptsVectors(verifier, "test/vectors/vanity.json");
    }

    function test_ethereum_acceptsVectorsOfAnIndependentImplementation() public {
        acceptsVectors(new EthereumVanityVerifier(), "test/vectors/ethereum.json");
    }

    /// @dev BIP-173's own example: the key 1 is bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4. Wanted: "bc1qw508d6q".
    function test_verify_acceptsASegwitAddressByItsLetters() public {
        (bytes32 order, address worker) = (keccak256("order"), address(0xa));
        uint256 offset = addmod(uint256(keccak256(bytes.concat(order, bytes20(worker)))), 7, N);
        bytes memory result = resultOf(vm.createWallet(1), worker, 7, 0);
        // The letters behind "q" are five bits each of the hash.
        bytes memory letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
        bytes memory wanted = "w508d6q";
        uint256 bits = 0;
        for (uint256 i = 0; i < wanted.length; ++i) {
            uint256 value = 0;
            while (letters[value] != wanted[i]) ++value;
            bits = (bits << 5) | value;
        }
        uint160 lo = uint160(bits << (160 - 5 * wanted.length));
        uint160 hi = lo + uint160((1 << (160 - 5 * wanted.length)) - 1);
        bytes memory key = publicKey(N + 1 - offset);
        assertTrue(verifier.verify(order, worker, bytes.concat(key, bytes20(lo), bytes20(hi)), result), "accepted");
        assertTrue(!verifier.verify(order, worker, bytes.concat(key, bytes20(0), bytes20(lo - 1)), result), "refused");
    }

    function test_fuzz_ethereum_acceptsTheAddressOfTheSummedKey(bytes32 order, address worker, uint256 secret) public {
        Hit memory found = hit(order, worker, secret, 7, 0);
        Vm.Wallet memory sum = sumOf(found.secret, order, worker, 7);
        EthereumVanityVerifier ethereum = new EthereumVanityVerifier();
        wantOnly(found, uint160(sum.addr), uint160(sum.addr));
        // Of two images one has the parity of the point itself.
        found.result[28] = bytes1(uint8(sum.publicKeyY % 2));
        assertTrue(ethereum.verify(order, worker, found.params, found.result), "accepted");
        found.result[28] = bytes1(uint8(1 - sum.publicKeyY % 2));
        assertTrue(!ethereum.verify(order, worker, found.params, found.result), "the negative is another");
    }

    function test_preimage_isAnythingWithTheDigest() public {
        PreimageVerifier preimage = new PreimageVerifier();
        bytes memory digest = abi.encode(sha256("secret"));
        assertTrue(preimage.verify("order", address(1), digest, "secret"), "accepted");
        assertTrue(!preimage.verify("order", address(1), digest, "guess"), "refused");
        assertTrue(!preimage.verify("order", address(1), bytes.concat(digest, hex"00"), "secret"), "params too long");
        assertTrue(!preimage.verify("order", address(1), "", "secret"), "params too short");
    }

    function test_fuzz_verify_acceptsWhatTheHolderOfTheKeyFinds(
        bytes32 order,
        address worker,
        uint256 secret,
        uint64 index,
        uint8 image
    ) public {
        accepts(hit(order, worker, secret, index, image));
    }

    /// @dev Each result has one owner and one order: whoever copies it from the mempool has nothing.
    function test_fuzz_verify_refusesForAnotherWorkerOrOrder(uint256 secret, bytes32 order, address worker) public {
        Hit memory found = hit(keccak256("order"), address(0xa), secret, 7, 3);
        if (worker != found.worker) {
            assertTrue(!verifier.verify(found.order, worker, found.params, found.result), "copied as it is");
            bytes memory renamed = bytes.concat(bytes20(worker), tail(found.result, 20));
            assertTrue(!verifier.verify(found.order, worker, found.params, renamed), "copied under another name");
        }
        if (order != found.order) {
            assertTrue(!verifier.verify(order, found.worker, found.params, found.result), "for another order");
        }
    }

    function test_fuzz_verify_refusesWhenAnyByteIsChanged(uint256 secret, uint256 position, uint8 flip) public {
        vm.assume(flip != 0);
        Hit memory found = hit(keccak256("order"), address(0xa), secret, 7, 3);
        found.result[position % 93] ^= bytes1(flip);
        refuses(found);
    }

    function test_fuzz_verify_refusesForAnotherKey(uint256 secret, uint256 position, uint8 flip) public {
        vm.assume(flip != 0);
        Hit memory found = hit(keccak256("order"), address(0xa), secret, 7, 3);
        found.params[position % 33] ^= bytes1(flip);
        refuses(found);
    }

    function test_verify_rangesIncludeBothEnds() public {
        Hit memory found = hit(keccak256("order"), address(0xa), 42, 0, 0);
        uint160 hash = found.hash;
        wantOnly(found, hash - 1, hash);
        accepts(found);
        wantOnly(found, hash, hash + 1);
        accepts(found);
        wantOnly(found, hash + 1, hash + 2);
        refuses(found);
        wantOnly(found, hash - 2, hash - 1);
        refuses(found);
        wantOnly(found, hash + 1, hash - 1);
        refuses(found);
        wantOnly(found, 0, type(uint160).max);
        accepts(found);
    }

    function test_verify_anyOf32RangesWillDo() public {
        for (uint256 wanted = 0; wanted <= 32; ++wanted) {
            Hit memory found = hit(keccak256("order"), address(0xa), 42, 0, 0);
            found.params = publicKey(found.secret);
            for (uint256 i = 0; i < 32; ++i) {
                uint160 end = i == wanted ? found.hash : found.hash - uint160(i) - 1;
                found.params = bytes.concat(found.params, bytes20(end), bytes20(end));
            }
            assertEq(found.params.length, 33 + 32 * 40, "length");
            assertTrue(isAccepted(found) == (wanted < 32), "accepted");
        }
    }

    function test_verify_refusesMoreThan32Ranges() public {
        Hit memory found = hit(keccak256("order"), address(0xa), 42, 0, 0);
        bytes memory range = tail(found.params, 33);
        for (uint256 i = 1; i < 32; ++i) {
            found.params = bytes.concat(found.params, range);
        }
        accepts(found);
        found.params = bytes.concat(found.params, range);
        refuses(found);
    }

    function test_verify_refusesParamsOfWrongLength() public {
        Hit memory found = hit(keccak256("order"), address(0xa), 42, 0, 0);
        bytes memory full = bytes.concat(found.params, bytes20(0), bytes20(type(uint160).max));
        for (uint256 length = 0; length <= full.length; ++length) {
            found.params = head(full, length);
            assertTrue(isAccepted(found) == (length == 33 + 40 || length == 33 + 80), "accepted");
        }
    }

    function test_verify_refusesResultsOfWrongLength() public {
        Hit memory found = hit(keccak256("order"), address(0xa), 42, 0, 0);
        bytes memory padded = bytes.concat(found.result, bytes32(0));
        for (uint256 length = 0; length <= padded.length; ++length) {
            found.result = head(padded, length);
            assertTrue(isAccepted(found) == (length == 93), "accepted");
        }
    }

    function test_verify_refusesImagesThatDoNotExist() public {
        Hit memory found = hit(keccak256("order"), address(0xa), 42, 0, 0);
        wantOnly(found, 0, type(uint160).max);
        for (uint256 image = 0; image < 256; ++image) {
            found.result[28] = bytes1(uint8(image));
            assertTrue(isAccepted(found) == (image <= 5), "accepted");
        }
    }

    function test_verify_refusesKeyPrefixesThatDoNotExist() public {
        Hit memory found = hit(keccak256("order"), address(0xa), 42, 0, 0);
        bytes1 right = found.params[0];
        for (uint256 prefix = 0; prefix < 256; ++prefix) {
            found.params[0] = bytes1(uint8(prefix));
            assertTrue(isAccepted(found) == (found.params[0] == right), "accepted");
        }
    }

    function test_verify_refusesKeysThatAreNoPoint() public {
        Hit memory found = hit(keccak256("order"), address(0xa), 42, 0, 0);
        wantOnly(found, 0, type(uint160).max);
        accepts(found);
        uint256[5] memory xs = [uint256(0), 5, N, P, type(uint256).max];
        for (uint256 i = 0; i < xs.length; ++i) {
            found.params = abi.encodePacked(found.params[0], xs[i], bytes20(0), bytes20(type(uint160).max));
            refuses(found);
        }
    }

    /// @dev The requester's key −k·G makes the sum with k·G no point at all.
    function test_verify_refusesThePointAtInfinity() public {
        bytes32 order = keccak256("order");
        address worker = address(0xa);
        uint256 offset = addmod(uint256(keccak256(bytes.concat(order, bytes20(worker)))), 7, N);
        bytes memory params = bytes.concat(publicKey(N - offset), bytes20(0), bytes20(type(uint160).max));
        bytes memory result = abi.encodePacked(worker, uint64(7), uint8(0), uint256(0), uint256(0));
        assertTrue(!verifier.verify(order, worker, params, result), "refused");
        // The key itself is good: its neighbour is found.
        result = resultOf(vm.createWallet(1), worker, 8, 0);
        assertTrue(verifier.verify(order, worker, params, result), "neighbour accepted");
    }

    /// @dev Points whose keys a worker has, or which hang together with the requester's in a way it knows.
    function test_fuzz_verify_refusesRoguePoints(bytes32 order, address worker, uint256 secret, uint256 own) public {
        Hit memory found = hit(order, worker, secret, 7, 0);
        wantOnly(found, 0, type(uint160).max);
        accepts(found);
        own = bound(own, 1, N - 1);
        uint256 offset = addmod(uint256(keccak256(bytes.concat(order, bytes20(worker)))), 7, N);
        uint256 sum = addmod(found.secret, offset, N);
        uint256 withoutKey = addmod(own, N - found.secret, N);
        uint256[6] memory rogues =
            [own, withoutKey, addmod(withoutKey, offset, N), addmod(own, found.secret, N), offset, N - sum];
        for (uint256 i = 0; i < rogues.length; ++i) {
            if (rogues[i] == 0 || rogues[i] == sum) continue;
            found.result = resultOf(vm.createWallet(rogues[i]), worker, 7, 0);
            refuses(found);
        }
    }

    function test_fuzz_verify_neverRevertsOnGarbage(
        bytes32 order,
        address worker,
        bytes calldata params,
        bytes calldata result
    ) public view {
        assertTrue(!verifier.verify(order, worker, params, result), "refused");
    }

    /// @dev Garbage of the right lengths gets further in.
    function test_fuzz_verify_neverRevertsOnShapedGarbage(
        bytes32 order,
        address worker,
        bytes32[4] calldata params,
        bytes32[3] calldata result
    ) public view {
        bytes memory shapedParams = bytes.concat(hex"02", head(abi.encode(params), 72));
        bytes memory shapedResult = bytes.concat(bytes20(worker), head(abi.encode(result), 73));
        assertTrue(!verifier.verify(order, worker, shapedParams, shapedResult), "refused");
    }

    function acceptsVectors(IVerifier by, string memory path) private view {
        string memory json = vm.readFile(path);
        uint256 count = vm.parseJsonUint(json, ".count");
        assertEq(count, 48, "vectors");
        uint256 seen = 0;
        for (uint256 i = 0; i < count; ++i) {
            string memory vector = string.concat(".vectors[", vm.toString(i), "]");
            bytes32 order = vm.parseJsonBytes32(json, string.concat(vector, ".order"));
            address worker = vm.parseJsonAddress(json, string.concat(vector, ".worker"));
            bytes memory params = vm.parseJsonBytes(json, string.concat(vector, ".params"));
            bytes memory result = vm.parseJsonBytes(json, string.concat(vector, ".result"));
            assertTrue(by.verify(order, worker, params, result), "accepted");
            seen |= 1 << (uint8(params[0]) * 8 + uint8(result[28]));

            // The same point behind every other image is another address, which nobody wants.
            for (uint8 image = 0; image < 6; ++image) {
                bytes1 own = result[28];
                if (image == uint8(own)) continue;
                result[28] = bytes1(image);
                assertTrue(!by.verify(order, worker, params, result), "other image refused");
                result[28] = own;
            }
        }
        assertEq(seen, (0x3f << 16) | (0x3f << 24), "each image for both parities");
    }

    function hit(bytes32 order, address worker, uint256 secret, uint64 index, uint8 image)
        private
        returns (Hit memory found)
    {
        found.order = order;
        found.worker = worker;
        found.secret = bound(secret, 1, N - 1);
        found.index = index;
        found.image = image % 6;
        Vm.Wallet memory sum = sumOf(found.secret, order, worker, index);
        found.hash = hashOf(sum, found.image);
        found.result = resultOf(sum, worker, index, found.image);
        wantOnly(found, found.hash, found.hash);
    }

    function wantOnly(Hit memory found, uint160 lo, uint160 hi) private {
        found.params = bytes.concat(publicKey(found.secret), bytes20(lo), bytes20(hi));
    }

    function isAccepted(Hit memory found) private view returns (bool) {
        return verifier.verify(found.order, found.worker, found.params, found.result);
    }

    function accepts(Hit memory found) private view {
        assertTrue(isAccepted(found), "accepted");
    }

    function refuses(Hit memory found) private view {
        assertTrue(!isAccepted(found), "refused");
    }

    function head(bytes memory data, uint256 length) private pure returns (bytes memory part) {
        part = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            part[i] = data[i];
        }
    }

    function tail(bytes memory data, uint256 start) private pure returns (bytes memory part) {
        part = new bytes(data.length - start);
        for (uint256 i = 0; i < part.length; ++i) {
            part[i] = data[start + i];
        }
    }
}
