// Files that act by themselves: heuristics, never a verdict; policy says what becomes of them.
rule shortcut_file {
    meta:
        kind = "rule"
        description = "a Windows shortcut"
    condition:
        uint32(0) == 0x0000004c and uint32(4) == 0x00021401
}

rule onenote_embedded_file {
    meta:
        kind = "rule"
        description = "a OneNote document with an embedded file"
    strings:
        $embedded = { E7 16 E3 BD 65 26 11 45 A4 C4 8D 4D 0B 7A 9E AC }
    condition:
        uint32be(0) == 0xE4525C7B and $embedded
}
