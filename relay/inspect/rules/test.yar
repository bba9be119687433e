// The EICAR test file (EICAR, "Anti-Malware Testfile"), and the test signature of Sluis itself. The strings are split, so that this file is not one.
rule eicar {
    meta:
        kind = "malware"
        description = "the EICAR anti-malware test file"
    strings:
        $a = /X5O!P%@AP\[4\\PZX54\(P\^\)7CC\)7\}\$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!\$H\+H\*/
    condition:
        $a
}

rule sluis_test {
    meta:
        kind = "malware"
        description = "the test signature of Sluis"
    strings:
        $a = /SLUIS-TEST-SIGNATURE-[0-9a-f]{16}-MALWARE/
    condition:
        $a
}
