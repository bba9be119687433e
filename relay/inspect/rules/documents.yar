// Documents that act by themselves: heuristics, never a verdict; policy says what becomes of them.
rule office_macro_auto {
    meta:
        kind = "rule"
        description = "an Office macro that runs when the document is opened"
    strings:
        $auto1 = "AutoOpen" nocase
        $auto2 = "Document_Open" nocase
        $auto3 = "Workbook_Open" nocase
        $auto4 = "Auto_Open" nocase
        $vba1 = "VBA" wide ascii
        $vba2 = "_VBA_PROJECT" wide ascii
    condition:
        any of ($auto*) and any of ($vba*)
}

rule pdf_javascript {
    meta:
        kind = "rule"
        description = "a PDF that carries JavaScript or starts programs"
    strings:
        $pdf = "%PDF-"
        // Any letter may stand as #xx, and up to 1,024 octets in front (ISO 32000-1 §7.3.5, annex H.3).
        $js = /\/(J|#4[Aa])(S|#53)[\s\x00\/(<\[%]/
        $javascript = /\/(J|#4[Aa])(a|#61)(v|#76)(a|#61)(S|#53)(c|#63)(r|#72)(i|#69)(p|#70)(t|#74)[\s\x00\/(<\[%]/
        $launch = /\/(L|#4[Cc])(a|#61)(u|#75)(n|#6[Ee])(c|#63)(h|#68)[\s\x00\/<(\[%]/
    condition:
        $pdf in (0..1024) and any of ($js, $javascript, $launch)
}

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
