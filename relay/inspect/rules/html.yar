// Documents that act by themselves: heuristics, never a verdict; policy says what becomes of them.
rule html_smuggling {
    meta:
        kind = "rule"
        description = "HTML that builds a file to download by script"
    strings:
        $blob = "new Blob" nocase
        $save1 = "msSaveOrOpenBlob" nocase
        $save2 = "createObjectURL" nocase
        $atob = "atob(" nocase
        $script = "<script" nocase
    condition:
        $script and ($blob or $atob) and any of ($save*)
}
