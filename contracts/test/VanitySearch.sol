// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Base, Vm} from "./Base.sol";

/// @dev A worker with the private keys, which makes results by forge's own curve.
abstract contract VanitySearch is Base {
    uint256 internal constant N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
    uint256 internal constant P = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F;
    uint256 private constant BETA = 0x7AE96A2B657C07106E64479EAC3434E99CF0497512F58995C1396C28719501EE;

    function publicKey(uint256 secret) internal returns (bytes memory) {
        Vm.Wallet memory wallet = vm.createWallet(secret);
        return abi.encodePacked(uint8(2 + wallet.publicKeyY % 2), wallet.publicKeyX);
    }

    function sumOf(uint256 secret, bytes32 order, address worker, uint64 index) internal returns (Vm.Wallet memory) {
        uint256 base = uint256(keccak256(bytes.concat(order, bytes20(worker))));
        return vm.createWallet(addmod(secret, addmod(base, index, N), N));
    }

    function hashOf(Vm.Wallet memory sum, uint8 image) internal pure returns (uint160) {
        uint256 x = sum.publicKeyX;
        for (uint256 i = 0; i < image / 2; ++i) {
            x = mulmod(x, BETA, P);
        }
        return uint160(ripemd160(bytes.concat(sha256(abi.encodePacked(uint8(2 + image % 2), x)))));
    }

    function resultOf(Vm.Wallet memory sum, address worker, uint64 index, uint8 image)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodePacked(worker, index, image, sum.publicKeyX, sum.publicKeyY);
    }
}
