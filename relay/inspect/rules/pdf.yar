// Documents that act by themselves: heuristics, never a verdict; policy says what becomes of them.
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
