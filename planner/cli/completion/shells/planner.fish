# Completion of plan and planner for fish 3.1 or newer.

function __planner_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    for line in (_PLANNER_COMPLETE=fish $words "$typed" 2>/dev/null)
        if string match -q -- \t'*' $line
            set -l endings (string split -n ' ' (string trim $line))
            if test (count $endings) -eq 0
                __fish_complete_path "$typed"
            end
            for ending in $endings
                __fish_complete_suffix "$typed" $ending
            end
        else
            printf '%s\n' $line
        end
    end
end

complete -c plan -f -a '(__planner_complete)'
complete -c planner -f -a '(__planner_complete)'
