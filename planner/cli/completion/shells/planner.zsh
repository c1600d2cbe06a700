#compdef plan planner
# Completion of plan and planner for zsh.

_planner() {
    local line word
    local -a words_ joined shown asked
    asked=("${(@Q)words[2,CURRENT]}")
    for line in "${(@f)$(_PLANNER_COMPLETE=zsh ${~words[1]} "${asked[@]}" 2>/dev/null)}"; do
        if [[ $line == $'\t'* ]]; then
            line=${line#$'\t'}
            if [[ -n $line ]]; then
                _files -g "*(${(j:|:)${(s: :)line}})"
            else
                _files
            fi
        elif [[ -n $line ]]; then
            word=${line%%$'\t'*}
            if [[ $word == *= ]]; then
                joined+=("$word")
            elif [[ $line == *$'\t'* ]]; then
                shown+=("${word//:/\\:}:${line#*$'\t'}")
            else
                shown+=("${word//:/\\:}")
            fi
        fi
    done
    (( ${#joined} )) && compadd -S '' -- "${joined[@]}"
    (( ${#shown} )) && _describe -V 'words' shown
    return 0
}

if [[ ${funcstack[1]} == _planner ]]; then
    _planner "$@"
else
    compdef _planner plan planner
fi
