# Completion of plan and planner for bash 4.4 or newer.

_planner_complete() {
    # bash cuts words at signs such as : and = too: here they are whole again
    local line=$COMP_LINE words=() word at=0
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ ${#words[@]} -eq 0 || $line == [[:space:]]* ]]; then
            words+=("$word")
        else
            words[-1]+=$word
        fi
        line=${line#"${line%%[![:space:]]*}"}
        line=${line#"$word"}
    done
    local typed=${words[-1]} cut=''
    [[ $COMP_WORDBREAKS == *:* && $typed == *:* ]] && cut=${typed%"${typed##*:}"}
    [[ $COMP_WORDBREAKS == *@* && ${typed#"$cut"} == *@* ]] && cut=${typed%"${typed##*@}"}
    [[ $COMP_WORDBREAKS == *=* && ${typed#"$cut"} == *=* ]] && cut=${typed%"${typed##*=}"}

    local answer file ending endings
    COMPREPLY=()
    while IFS= read -r answer; do
        if [[ $answer == $'\t'* ]]; then
            compopt -o filenames
            read -ra endings <<<"$answer"
            while IFS= read -r file; do
                [[ -n $file ]] && COMPREPLY+=("$file")
            done < <(
                compgen -d -- "${typed#"$cut"}"
                [[ ${#endings[@]} -eq 0 ]] && compgen -f -- "${typed#"$cut"}"
                for ending in "${endings[@]}"; do
                    compgen -f -X "!*$ending" -- "${typed#"$cut"}"
                done
            )
        else
            answer=${answer%%$'\t'*}
            COMPREPLY+=("${answer#"$cut"}")
        fi
    done < <(_PLANNER_COMPLETE=bash "${words[@]}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    return 0
}

complete -F _planner_complete plan planner
